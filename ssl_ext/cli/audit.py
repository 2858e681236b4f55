"""Audit the data of a config: groups and images in several splits, class counts, sizes and channels.

The exit status is 0 without problems, 1 with problems, and 2 if the data cannot be read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ssl_ext.errors import UserError
from ssl_ext.files import check_writable

from .arguments import CONFIG_HELP, add_options, check_paths


def main(words: Sequence[str] | None = None, *, prog: str | None = None) -> None:
    """Parse and run; ``words`` default to the command line."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help=CONFIG_HELP)
    parser.add_argument("--out", metavar="FILE", help="also write all findings to this JSON file")
    several: dict[str, Any] = dict(type=int, nargs="+", default=[], metavar="N")
    parser.add_argument("--budgets", help="also count the classes of drawn labels, for N labels", **several)
    parser.add_argument("--labels-per-class", help="the same for N labels of each class", **several)
    parser.add_argument("--seed", type=int, default=0, help="seed of the draws (0)")
    add_options(parser)
    args = parser.parse_args(words)
    check_paths(vars(args))
    if args.out and Path(args.out).is_dir():
        raise UserError(f"--out '{args.out}' is a folder; give a file.")
    if args.out:
        check_writable(Path(args.out).parent, "--out", "The audit")

    from ssl_ext.apis import audit, parse_options

    from .console import PlainConsole

    found = audit(
        args.config,
        budgets=args.budgets,
        labels_per_class=args.labels_per_class,
        seed=args.seed,
        options=parse_options(args.options),
    )
    console = PlainConsole()
    console.print(found.rich())
    if args.out:
        found.write(args.out)
        console.wrote(args.out)
    if found.problems:
        sys.exit(1)
