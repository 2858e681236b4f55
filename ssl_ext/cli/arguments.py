"""Options and checks of paths that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssl_ext.config.locate import config_file
from ssl_ext.files import check_file
from ssl_ext.names import BALANCES

CONFIG_HELP = "config file, such as configs/trimix/...py"


def add_options(parser: argparse.ArgumentParser, *, help: str = "override config keys") -> None:
    """Add ``--cfg-options``, a list of ``KEY=VALUE``; repeated options are joined."""
    parser.add_argument(
        "--cfg-options", dest="options", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
        help=help,
    )  # fmt: skip


def add_weight_options(parser: argparse.ArgumentParser, weights: str = "weights") -> None:
    """Add ``--allow-partial`` and ``--ema``."""
    parser.add_argument(
        "--allow-partial",
        action="store_true",
        help=f"accept {weights} that lack tensors of the backbone",
    )
    parser.add_argument("--ema", action="store_true", help=f"load the EMA {weights} of the file (timm)")


def label_budget(word: str) -> int | str:
    """A number of labels, or another word such as ``all``."""
    return int(word) if word.isdigit() else word


class _Balance(argparse.Action):
    """One name, or numbers."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: str | None = None) -> None:
        try:
            values = [float(word) for word in values]
        except ValueError:
            values = " ".join(values)
        setattr(namespace, self.dest, values)


def add_balance(parser: argparse.ArgumentParser) -> None:
    """Add ``--balance``: a name in :data:`ssl_ext.names.BALANCES`, or a weight for each class."""
    parser.add_argument(
        "--balance", nargs="+", metavar="HOW", action=_Balance,
        help=f"training on unequal classes: {' '.join(BALANCES)}, or a weight for each class (as they are)",
    )  # fmt: skip


def check_checkpoint(path: str) -> None:
    """Raise UserError if the path is neither a file nor a folder, which may hold weights."""
    if not Path(path).expanduser().is_dir():
        check_file(path, "Checkpoint")


def check_exists(path: str) -> None:
    """Raise UserError if the path is neither a file nor a folder."""
    if not Path(path).is_dir():
        check_file(path)


CHECKS = {
    "config": config_file,
    "transfer_to": config_file,
    "checkpoint": check_checkpoint,
    "checkpoints": check_checkpoint,
    "trained": check_checkpoint,
    "weights": check_checkpoint,
    "init": check_checkpoint,
    "places": check_exists,
    "metadata": check_file,
    "first": check_exists,
    "second": check_exists,
    "references": check_exists,
    "results": check_exists,
    "runs": check_exists,
    "folder": check_exists,
}


def check_paths(args: Mapping[str, Any]) -> None:
    """Check every path of a command's arguments, by the name of the argument.

    Raises:
        UserError: One of them does not exist.
    """
    for name, check in CHECKS.items():
        given = args.get(name) or []
        for path in [given] if isinstance(given, str) else given:
            check(path)
