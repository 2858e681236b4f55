"""Compare two evaluations: two models on the same images, or two methods over pretraining seeds."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .arguments import check_paths


def main(words: Sequence[str] | None = None, *, prog: str | None = None) -> None:
    """Parse and run; ``words`` default to the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    for name in ("first", "second"):
        parser.add_argument(
            name, metavar="A" if name == "first" else "B",
            help="folder to search for results.json; several checkpoints: their methods are compared",
        )  # fmt: skip
    parser.add_argument(
        "--methods",
        nargs=2,
        metavar=("A", "B"),
        help="methods to compare (default: the methods of the checkpoints)",
    )
    parser.add_argument(
        "--metric",
        dest="metrics",
        nargs="+",
        metavar="NAME",
        help="metrics, such as acc auc balanced_acc kappa auprc",
    )
    parser.add_argument("--which", choices=("last", "best"), default="last", help="epoch (last)")
    args = vars(parser.parse_args(words))
    check_paths(args)

    from ssl_ext.apis.compare import compare

    from .console import PlainConsole

    PlainConsole().print_grids(compare(args.pop("first"), args.pop("second"), **args))
