"""Optional packages of some export formats."""

from __future__ import annotations

import importlib
from types import ModuleType

from ssl_ext.errors import UserError


def needed(module: str, to: str) -> ModuleType:
    """Import a module of an optional package that the format ``to`` needs.

    Raises:
        UserError: The package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise UserError(
            f"--to {to} needs {package}, which is not installed: pip install 'ssl-ext[export]'."
        ) from error
