"""Evaluate a checkpoint with any protocols, baselines and seeds, in one table."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from ssl_ext.names import (
    BASELINES,
    BUDGETS,
    DEFAULT_PROTOCOLS,
    FRACTIONS,
    MODES,
    PROTOCOLS,
    RECIPES,
    UNITS,
)

from .arguments import CONFIG_HELP, add_balance, add_options, add_weight_options, check_paths, label_budget


def _listed(values: Sequence[Any]) -> str:
    return " ".join(map(str, values))


def main(words: Sequence[str] | None = None, *, prog: str | None = None) -> None:
    """Parse and run; ``words`` default to the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("config", help=CONFIG_HELP)
    parser.add_argument("checkpoint", nargs="?", help="checkpoint or work dir (default: random weights)")
    several: dict[str, Any] = dict(nargs="+", default=())
    parser.add_argument(
        "--protocols", nargs="*", default=DEFAULT_PROTOCOLS, metavar="NAME", help=_listed(PROTOCOLS)
    )
    parser.add_argument(
        "--labels-per-class", type=int, metavar="N", help="also train on N labels per class", **several
    )
    parser.add_argument(
        "--budgets",
        type=label_budget,
        metavar="N",
        help=f"numbers of labels for the protocol budget ({_listed(BUDGETS)})",
        **several,
    )
    parser.add_argument(
        "--fractions",
        type=float,
        metavar="F",
        help=f"fractions of labels for the protocol semi ({_listed(FRACTIONS)})",
        **several,
    )
    parser.add_argument(
        "--by", choices=UNITS, default=UNITS[0], help="unit in which labels are counted and drawn (image)"
    )
    parser.add_argument(
        "--transfer-to", metavar="CONFIG", help="data sets of the protocol transfer", **several
    )
    parser.add_argument(
        "--modes", nargs="+", default=MODES[:1], metavar="NAME",
        help=f"{_listed(MODES)}: backbone in budget, transfer and with few labels ({MODES[0]})",
    )  # fmt: skip
    parser.add_argument(
        "--recipe", dest="recipes", metavar="NAME", **several,
        help=f"recipes: {_listed(RECIPES)} (own, with the changes in the config)",
    )  # fmt: skip
    add_balance(parser)
    parser.add_argument(
        "--which", choices=("last", "best"), help="epoch of the table (both where they differ)"
    )
    parser.add_argument(
        "--seeds", nargs="+", type=int, default=[0], help="seeds; every protocol is repeated for each (0)"
    )
    parser.add_argument("--draws", type=int, default=5, help="label draws per seed for few labels")
    parser.add_argument("--baselines", metavar="NAME", help=_listed(BASELINES), **several)
    parser.add_argument(
        "--save", nargs="?", const=True, default=False, metavar="DIR",
        help="keep every trained classifier, of the best epoch or of --which (in networks/ of --out)",
    )  # fmt: skip
    parser.add_argument("--out", dest="out_dir", metavar="DIR", help="evaluation/ beside the checkpoint")
    parser.add_argument("--device", help="cpu, cuda, ... (CUDA if available)")
    parser.add_argument(
        "--as",
        dest="method",
        metavar="NAME",
        help="method name of the rows, for a checkpoint of another method",
    )
    parser.add_argument(
        "--resume", action="store_true",
        help="keep the rows in --out that were measured with this config, these weights and data",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    add_weight_options(parser)
    add_options(parser)
    args = vars(parser.parse_args(words))
    check_paths(args)

    from mmengine.dist import is_main_process

    from ssl_ext.apis import evaluate, parse_options
    from ssl_ext.evaluation import results_tables

    from .console import PlainConsole

    args["options"] = parse_options(args["options"])
    which = args.pop("which")
    args["save_which"] = which or "best"
    rows = evaluate(args.pop("config"), args.pop("checkpoint"), **args)
    if rows and is_main_process():
        PlainConsole().print_tables(*results_tables(rows, which))
