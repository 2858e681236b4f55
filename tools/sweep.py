#!/usr/bin/env python
"""Train and evaluate every point of a grid over config keys.

A finished point is passed over, an unfinished one resumed, a failed one reported at the end.
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from ssl_ext.apis.sweep.points import sweep_table
from ssl_ext.apis.sweep.run import PROTOCOLS, sweep
from ssl_ext.errors import run_tool

TRAIN_TOOL = Path(__file__).with_name("train.py")
EXAMPLE = """example:
  python tools/sweep.py CONFIG train_dataloader.batch_size=64,128 \\
      model.neck.hid_channels+model.neck.out_channels=128,256 -- --amp
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        usage="%(prog)s [options] CONFIG KEY=A,B,C [KEY1+KEY2=A,B ...] [-- training arguments]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", help="config file, such as configs/trimix/...py")
    parser.add_argument(
        "grid", nargs="+", metavar="KEY=A,B,C", help="values of a config key (KEY1+KEY2: of several at once)"
    )
    parser.add_argument("--work-dir", metavar="DIR", help="work_dirs/<config name>/sweep")
    parser.add_argument("--protocols", nargs="+", default=PROTOCOLS, metavar="NAME", help="knn linear")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="one run with each (0)")
    parser.add_argument(
        "--cfg-options",
        dest="options",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="override config keys at all points",
    )
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    args = vars(parser.parse_args(words[:cut]))
    points = sweep(
        args.pop("config"), args.pop("grid"), train_tool=TRAIN_TOOL, train_args=words[cut + 1 :], **args
    )

    console = Console()
    console.print(sweep_table(points, args["protocols"]))
    console.print(f"wrote {Path(points[0].folder).parent}", soft_wrap=True, highlight=False)
    failed = [point for point in points if point.status == "failed"]
    for point in failed:
        console.print(
            f"failed: {point.reason}\n  log: {point.log}", soft_wrap=True, highlight=False, markup=False
        )
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    run_tool(main)
