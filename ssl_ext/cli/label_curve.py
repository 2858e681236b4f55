"""Measure scores over numbers of labels, and extrapolate to more labels by a power law."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ssl_ext.names import BUDGETS, MODES, UNITS

from .arguments import CONFIG_HELP, add_balance, add_options, add_weight_options, check_paths, label_budget


def main(words: Sequence[str] | None = None, *, prog: str | None = None) -> None:
    """Parse and run; ``words`` default to the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("config", help=CONFIG_HELP)
    parser.add_argument("checkpoint", nargs="?", help="pretrained weights (default: random weights)")
    parser.add_argument(
        "--budgets", nargs="+", type=label_budget, default=BUDGETS, metavar="N",
        help=f"three or more numbers of labels ({' '.join(map(str, BUDGETS))})",
    )  # fmt: skip
    parser.add_argument("--draws", type=int, default=5, help="label draws per number and seed (5)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="seeds (0)")
    parser.add_argument("--modes", nargs="+", default=MODES[:1], metavar="NAME", help=" ".join(MODES))
    parser.add_argument(
        "--no-supervised",
        dest="supervised",
        action="store_false",
        help="without training from random weights",
    )
    parser.add_argument("--metric", default="acc", metavar="NAME", help="acc, auc, balanced_acc, ... (acc)")
    parser.add_argument("--which", choices=("last", "best"), default="last", help="epoch (last)")
    parser.add_argument("--by", choices=UNITS, default=UNITS[0], help="unit of the numbers (image)")
    parser.add_argument(
        "--next", dest="next_budget", type=int, metavar="N",
        help="number of labels to extrapolate to (twice the largest)",
    )  # fmt: skip
    add_balance(parser)
    parser.add_argument(
        "--out", dest="out_dir", default="label_curve", metavar="DIR", help="folder (label_curve)"
    )
    parser.add_argument("--device", help="cpu, cuda, ... (CUDA if available)")
    add_weight_options(parser)
    add_options(parser)
    args = vars(parser.parse_args(words))
    check_paths(args)

    from ssl_ext.apis import label_curve, parse_options
    from ssl_ext.evaluation.label_curves import CAVEAT

    from .console import PlainConsole

    args["options"] = parse_options(args["options"])
    curves, written = label_curve(args.pop("config"), args.pop("checkpoint"), **args)
    console = PlainConsole()
    unit = "groups" if args["by"] == "group" else "labels"
    for curve in curves:
        console.print(curve.sentence(args["metric"], unit), soft_wrap=True)
    if any(curve.expected for curve in curves):
        console.print(CAVEAT, soft_wrap=True)
    console.wrote(*written)
