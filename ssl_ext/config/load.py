"""Read a config file, apply overrides and check its values."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope

from ssl_ext.errors import UserError, user_errors

from .classes import name_classes
from .keys import check_file_keys, check_option_keys
from .kinds import check_kinds
from .locate import config_file, read_config
from .options import parse_options

__all__ = ["load_config", "parse_options"]


def load_config(
    config: Config | str | os.PathLike, options: dict | None = None, *, required: Sequence[str] = ()
) -> Config:
    """Read a config file (or copy a config), apply overrides and make ``ssl_ext`` the default scope.

    Classes at ``type`` are replaced by their names, and ``~`` in ``work_dir`` by the home folder.

    Raises:
        UserError: The file is missing or not a config, an override does not fit, a key is misspelt or
            missing, or a value has the wrong type.
    """
    init_default_scope("ssl_ext")
    if isinstance(config, Config):
        config = copy.deepcopy(config)
    else:
        config_file(config)
        try:
            config = read_config(config)
        except Exception as error:
            # A config is a Python file and can raise any exception.
            reason: Any = error
            if isinstance(error, ImportError) and error.__cause__:  # MMEngine's message lists sys.path
                reason = (
                    f"custom_imports: {error.__cause__.__context__ or error.__cause__}; modules are sought "
                    "beside the config and its bases, in the current folder and in PYTHONPATH."
                )
            raise UserError(f"Config '{config}' cannot be read: {reason}") from error
    check_file_keys(config)
    if options:
        check_option_keys(config, options)
        with user_errors(f"--cfg-options {options}"):
            config.merge_from_dict(options)
    name_classes(config)
    if isinstance(config.get("work_dir"), (str, os.PathLike)):
        config.work_dir = os.path.expanduser(config.work_dir)
    check_kinds(config)
    if missing := [key for key in required if config.get(key) is None]:
        raise UserError(f"The config lacks {', '.join(missing)}.")
    return config
