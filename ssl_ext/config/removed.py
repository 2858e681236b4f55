"""Configs that were removed because another config with an override is the same; their paths still load."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmengine.config import Config

# Removed file → the file beside it that replaces it, and what that one changes.
REMOVED: dict[str, tuple[str, dict[str, Any]]] = {
    f"{method}_resnet50_1xb{batch}-adam-80e_{data}.py": (
        f"{method}_resnet50_1xb128-adam-80e_{data}.py",
        {"train_dataloader.batch_size": batch},
    )
    for method in ("byol", "cross", "pirl-jigsaw", "pirl-rotation", "simclr", "simsiam", "tribyol")
    for batch in (32, 64)
    for data in ("cifar10", "cifar100", "stl10")
}


def successor(path: str | os.PathLike) -> tuple[str, dict[str, Any]]:
    """The file to read for the path of a config, and the overrides that make it that config.

    Any other path is returned as it is, and so is that of a file that exists.

    >>> successor("ssl_ext::byol/byol_resnet50_1xb32-adam-80e_stl10.py")
    ('ssl_ext::byol/byol_resnet50_1xb128-adam-80e_stl10.py', {'train_dataloader.batch_size': 32})
    """
    path = str(path)
    name = path.replace("\\", "/").rpartition("/")[2]
    if name not in REMOVED or Path(path).is_file():
        return path, {}
    new, overrides = REMOVED[name]
    return path.removesuffix(name) + new, dict(overrides)


def read_config(path: str | os.PathLike) -> Config:
    """Read a config file; a removed one keeps its ``filename``, from which work dirs and rows take names.

    Raises:
        Exception: Whatever MMEngine or the file itself raises.
    """
    # Here, so that a path can be looked up without importing MMEngine.
    from mmengine.config import Config
    from mmengine.logging import print_log

    source, overrides = successor(path)
    config = Config.fromfile(source)
    if not overrides:
        return config
    words = " ".join(f"{key}={value}" for key, value in overrides.items())
    print_log(f"Config '{path}' is now '{source}' with {words}.", logger="current", level=logging.INFO)
    config.merge_from_dict(overrides)
    return Config(config._cfg_dict, config.text, str(path), config.env_variables)
