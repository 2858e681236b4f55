"""Reading a config file by its path.

``ssl_ext::trimix/….py`` is a config of the package. The paths of removed or renamed configs still work: each
is replaced by another config with overrides.
"""

from __future__ import annotations

import difflib
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any
from unittest.mock import patch

from ssl_ext.errors import UserError, did_you_mean
from ssl_ext.files import file_fault, shown
from ssl_ext.json_files import read_json, read_yaml

from .methods import METHODS

if TYPE_CHECKING:
    from mmengine.config import Config

PACKAGE = "ssl_ext"
SHIPPED = f"{PACKAGE}::"
FOLDER = Path(__file__).parents[1] / ".mim" / "configs"
# The recipe of TriBYOL's family before that of the re-implementation, which has one target for TriBYOL.
ADAM: dict[str, Any] = {
    "optim_wrapper.optimizer": dict(_delete_=True, type="Adam", lr=1e-3, weight_decay=1e-6),
    "param_scheduler": [],
}
# Removed file → the file in the same folder that replaces it, and the overrides.
REMOVED: dict[str, tuple[str, dict[str, Any]]] = {
    f"{method}_resnet50_1xb{batch}-adam-80e_{data}.py": (
        f"{method}_resnet50_1xb128-sgd-80e_{data}.py",
        ADAM
        | ({} if batch == 128 else {"train_dataloader.batch_size": batch})
        | ({"model.target_update": "alternate"} if method == "tribyol" else {}),
    )
    for method in ("byol", "cross", "simsiam", "tribyol", "pirl-jigsaw", "pirl-rotation", "simclr")
    for batch in (32, 64, 128)
    for data in ("cifar10", "cifar100", "stl10", "tiny-imagenet")
    if data != "tiny-imagenet" or (batch == 128 and method in ("byol", "cross", "simsiam", "tribyol"))
}
REMOVED["adam-80e.py"] = ("adam-200e.py", {"train_cfg.max_epochs": 80})


def successor(path: str | os.PathLike) -> tuple[str, dict[str, Any]]:
    """Return the file that replaces a removed config, and the overrides that make it equivalent.

    The paths of existing files and all other paths are returned unchanged, without overrides.

    >>> successor("configs/_base_/schedules/adam-80e.py")
    ('configs/_base_/schedules/adam-200e.py', {'train_cfg.max_epochs': 80})
    """
    path = str(path)
    name = path.replace("\\", "/").rpartition("/")[2]
    if name not in REMOVED or Path(path).is_file():
        return path, {}
    new, overrides = REMOVED[name]
    return path.removesuffix(name) + new, dict(overrides)


def config_file(path: str | os.PathLike) -> Path:
    """Return the file to read for the path of a config.

    Raises:
        UserError: The file does not exist.
    """
    source = successor(path)[0]
    file = FOLDER / source.removeprefix(SHIPPED) if source.startswith(SHIPPED) else Path(source)
    if not (fault := file_fault(file)):
        return file
    if str(path) in METHODS:
        raise UserError(
            f"'{path}' is a method: give your images too (--data FOLDER), or a config such as "
            f"{SHIPPED}{METHODS[str(path)]}."
        )
    raise UserError(f"Config '{shown(path)}' {fault}{_near_config(str(path))}.".replace("?.", "?"))


def base_of(method: str) -> str:
    """Return the config of a method's short name, or the absolute path of a config.

    Raises:
        UserError: Neither a name nor the path of a config.
    """
    if method in METHODS:
        return SHIPPED + METHODS[method]
    if method.endswith(".py") or "/" in method:
        config_file(method)
        return method if method.startswith(SHIPPED) else str(Path(method).absolute())
    near = did_you_mean(method, METHODS) or f"; known are {', '.join(METHODS)}."
    raise UserError(f"{method!r} is not a method{near}")


def _near_config(path: str) -> str:
    """End of a sentence that names a similar config: beside the path, of the package, or a method."""
    folder, name = os.path.split(path)
    beside = {place.name: str(place) for place in sorted(Path(folder or ".").glob("*.py"))}
    place = SHIPPED if path.startswith(SHIPPED) else "configs/" if path.startswith("configs/") else ""
    shipped = {file.name: str(file.relative_to(FOLDER)) for file in sorted(FOLDER.glob("[!_]*/**/*.py"))}
    known = {**{n: f"{place or SHIPPED}{rest}" for n, rest in shipped.items()}, **beside}
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    return f"; did you mean '{known[near[0]]}'?" if near else did_you_mean(path, METHODS)


def read_config(path: str | os.PathLike) -> Config:
    """Read a config file; a removed config keeps its ``filename``, which names work dirs and result rows.

    Raises:
        UserError: The file does not exist.
        Exception: Any exception raised by MMEngine or by the file.
    """
    file = config_file(path)
    # Imported here, so that paths can be checked without importing MMEngine and torch.
    from mmengine.config import Config
    from mmengine.config.utils import MODULE2PACKAGE

    # Lets MMEngine resolve a base such as "ssl_ext::trimix/….py".
    MODULE2PACKAGE.setdefault(PACKAGE, PACKAGE)
    with (
        removed_bases(),
        patch("mmengine.config.config.open", _open_config, create=True),
        patch("mmengine.load", _load_values),
        patch("mmengine.config.config.load", _load_values),
        # Modules of custom_imports may lie beside the config or its bases, or where it was written.
        patch.object(sys, "path", [*sys.path, str(file.parent.absolute()), os.getcwd()]),
    ):
        config = Config.fromfile(file)
    if SHIPPED in config.text:
        _drop_scope(config._cfg_dict)
    if not (overrides := log_successor(path)[1]):
        return config
    config.merge_from_dict(overrides)
    return Config(config._cfg_dict, config.text, str(path), config.env_variables)


def log_successor(path: str | os.PathLike) -> tuple[str, dict[str, Any]]:
    """Like ``successor``; logs the replacement of a removed config."""
    from mmengine.logging import print_log

    source, overrides = successor(path)
    if overrides:
        words = " ".join(f"{key}={value}" for key, value in overrides.items())
        message = f"Config '{path}' was replaced by '{source}' with {words}."
        print_log(message, logger="current", level=logging.INFO)
    return source, overrides


@contextmanager
def removed_bases() -> Iterator[None]:
    """Let MMEngine read a removed config named in ``_base_``, by a temporary file with the overrides."""
    from mmengine.config import Config, ConfigDict

    real = Config._get_cfg_path
    with TemporaryDirectory() as folder:

        def find(base: str, filename: str) -> tuple[str, str | None]:
            path = base if "::" in base else os.path.join(os.path.dirname(filename), base)
            source, overrides = log_successor(path)
            if not overrides:
                return real(base, filename)
            values = Config(ConfigDict())
            values.merge_from_dict(overrides)
            stub = Path(folder, os.path.basename(base))
            lines = [f"{key} = {value!r}" for key, value in {"_base_": source, **values.to_dict()}.items()]
            stub.write_text("\n".join(lines), encoding="utf-8")
            return str(stub), None

        Config._get_cfg_path = staticmethod(find)
        try:
            yield
        finally:
            Config._get_cfg_path = staticmethod(real)


def _open_config(file: Any, mode: str = "r", *, encoding: str | None = None) -> IO[Any]:
    """Python's ``open``, which skips a byte order mark; modules beside the file can then be imported."""
    sys.path.append(os.path.dirname(os.path.abspath(file)))
    return open(file, mode, encoding="utf-8-sig" if (mode, encoding) == ("r", "utf-8") else encoding)


def _load_values(file: str) -> dict[str, Any]:
    """Read a JSON or YAML config; MMEngine would not limit its size, and would build Python objects."""
    if Path(file).suffix == ".json":
        return read_json(file, dict[str, Any], "a config")
    values = read_yaml(file)
    if not isinstance(values, dict):
        raise UserError(f"'{file}' is not a config: it has no keys.")
    return values


def _drop_scope(value: Any) -> None:
    """Remove, in place, the ``_scope_='ssl_ext'`` that MMEngine adds to dicts of a base ``ssl_ext::….py``.

    It is the default scope; without it configs are equal for both ways of naming a base.
    """
    if isinstance(value, dict):
        if value.get("_scope_") == PACKAGE:
            del value["_scope_"]
        value = value.values()
    if not isinstance(value, str | bytes) and isinstance(value, Iterable):
        for inner in value:
            _drop_scope(inner)
