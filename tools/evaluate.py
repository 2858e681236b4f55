#!/usr/bin/env python
"""Evaluate a checkpoint: any protocols, beside baselines and over seeds, in one table."""

import argparse

from mmengine.dist import is_main_process
from rich.console import Console

from ssl_ext.apis import parse_options
from ssl_ext.apis.evaluate import evaluate
from ssl_ext.apis.evaluate.request import (
    BASELINES,
    BUDGETS,
    DEFAULT_PROTOCOLS,
    FRACTIONS,
    MODES,
    PROTOCOLS,
)
from ssl_ext.errors import run_tool
from ssl_ext.evaluation import results_table


def budget(word: str) -> int | str:
    return int(word) if word.isdigit() else word


def words(values: tuple) -> str:
    return " ".join(map(str, values))


def parse_arguments() -> dict:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="config file, such as configs/trimix/...py")
    parser.add_argument(
        "checkpoint", nargs="?", help="weights to evaluate (none: the network at its random start)"
    )
    several = dict(nargs="+", default=())
    parser.add_argument(
        "--protocols", nargs="*", default=DEFAULT_PROTOCOLS, metavar="NAME", help=words(PROTOCOLS)
    )
    parser.add_argument(
        "--labels-per-class", type=int, metavar="N", help="also on N labels of each class", **several
    )
    parser.add_argument(
        "--budgets", type=budget, metavar="N", help=f"of the protocol budget ({words(BUDGETS)})", **several
    )
    parser.add_argument(
        "--fractions", type=float, metavar="F", help=f"of the protocol semi ({words(FRACTIONS)})", **several
    )
    parser.add_argument(
        "--transfer-to", metavar="CONFIG", help="data sets of the protocol transfer", **several
    )
    parser.add_argument(
        "--modes", nargs="+", default=MODES[:1], metavar="NAME",
        help=f"{words(MODES)}: of the backbone in budget, transfer and on few labels ({MODES[0]})",
    )  # fmt: skip
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="repeat everything for each (0)")
    parser.add_argument("--draws", type=int, default=5, help="draws of few labels for each seed")
    parser.add_argument("--baselines", metavar="NAME", help=words(BASELINES), **several)
    parser.add_argument("--out", dest="out_dir", metavar="DIR", help="evaluation/ beside the checkpoint")
    parser.add_argument("--device", help="cpu, cuda, ... (CUDA where there is a device)")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    parser.add_argument(
        "--allow-partial",
        action="store_true",
        help="accept weights that match under 95 %% of the backbone",
    )
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="override config keys"
    )
    args = vars(parser.parse_args())
    args["options"] = parse_options(args.pop("cfg_options"))
    return args


def main() -> None:
    args = parse_arguments()
    rows = evaluate(args.pop("config"), args.pop("checkpoint"), **args)
    if rows and is_main_process():
        console = Console()
        console.print(results_table(rows))
        if any(row.best != row.last for row in rows):
            console.print(results_table(rows, which="best"))


if __name__ == "__main__":
    run_tool(main)
