"""Read a config file, apply overrides and check its values."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence

from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope

from ssl_ext.errors import UserError, user_errors

from .kinds import check_kinds
from .locate import config_file, read_config


def load_config(
    config: Config | str | os.PathLike, options: dict | None = None, *, required: Sequence[str] = ()
) -> Config:
    """Read a config file (or copy a config), apply overrides and make ``ssl_ext`` the default scope.

    Raises:
        UserError: The file is missing or is not a config, an override does not fit into it, a value has the
            wrong type for its key, or a key of ``required`` is missing.
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
            raise UserError(f"Config '{config}' cannot be read: {error}") from error
    if options:
        with user_errors(f"--cfg-options {options}"):
            config.merge_from_dict(options)
    check_kinds(config)
    if missing := [key for key in required if key not in config]:
        raise UserError(f"The config lacks {', '.join(missing)}.")
    return config


def parse_options(pairs: Sequence[str]) -> dict:
    """``['a.b=1', 'c=[2,3]']`` as ``{'a.b': 1, 'c': [2, 3]}``, values read as MMEngine reads them.

    Raises:
        UserError: A pair without ``=``.
    """
    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UserError(f"--cfg-options '{pair}' is not of the form key=value.")
        with user_errors(f"--cfg-options '{pair}'"):
            options[key] = DictAction._parse_iterable(value)
    return options
