"""The file that the path of a config names."""

from __future__ import annotations

import os
from pathlib import Path

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
