#!/usr/bin/env python
"""Evaluate a checkpoint: kNN, linear probes and few-label probes in one table."""

import argparse

from mmengine.dist import is_main_process
from rich.console import Console

from ssl_ext.apis import parse_options
from ssl_ext.apis.evaluate import BASELINES, PROTOCOLS, evaluate
from ssl_ext.errors import run_tool
from ssl_ext.evaluation import results_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="config file, such as configs/trimix/...py")
    parser.add_argument(
        "checkpoint", nargs="?", help="weights to evaluate (none: the network at its random start)"
    )
    parser.add_argument("--protocols", nargs="*", default=PROTOCOLS, metavar="NAME", help="knn linear")
    parser.add_argument(
        "--labels-per-class", nargs="+", type=int, default=[], metavar="N", help="probes on few labels"
    )
    parser.add_argument("--draws", type=int, default=5, help="draws of few labels")
    parser.add_argument(
        "--baselines", nargs="+", default=[], metavar="NAME", help=" ".join(BASELINES) + " (few labels only)"
    )
    parser.add_argument("--out", dest="out_dir", metavar="DIR", help="evaluation/ beside the checkpoint")
    parser.add_argument("--seed", type=int, default=0, help="of draws, held-out rows and probes")
    parser.add_argument("--device", help="cpu, cuda, ... (CUDA where there is a device)")
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
    rows = evaluate(args.pop("config"), args.pop("checkpoint"), **args)
    if is_main_process():
        console = Console()
        console.print(results_table(rows))
        if any(row.best != row.last for row in rows):
            console.print(results_table(rows, which="best"))


if __name__ == "__main__":
    run_tool(main)
