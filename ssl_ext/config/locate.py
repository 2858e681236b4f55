"""The file that the path of a config names."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ssl_ext.errors import UserError

SHIPPED = "ssl_ext::"
FOLDER = Path(__file__).parents[1] / ".mim" / "configs"


def config_file(path: str | os.PathLike) -> Path:
    """The file of a config; ``ssl_ext::trimix/….py`` is one that comes with the package.

    Raises:
        UserError: It does not exist.
    """
    words = str(path)
    found = FOLDER / words.removeprefix(SHIPPED) if words.startswith(SHIPPED) else Path(path)
    if not found.is_file():
        raise UserError(f"Config '{path}' does not exist.")
    return found


def drop_scope(value: Any) -> None:
    """Remove ``_scope_='ssl_ext'``, in place, which MMEngine adds to what stands in a base ``ssl_ext::…``.

    This project's scope is the default one, and a config means the same whichever way its bases are named.
    """
    if isinstance(value, dict):
        if value.get("_scope_") == SHIPPED.rstrip(":"):
            del value["_scope_"]
        value = value.values()
    if not isinstance(value, str | bytes) and isinstance(value, Iterable):
        for inner in value:
            drop_scope(inner)
