"""Train and evaluate every point of a grid over config keys.

Finished points are skipped, unfinished ones resumed, failed ones reported at the end.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ssl_ext.names import DEFAULT_PROTOCOLS

from .arguments import CONFIG_HELP, add_options, check_paths
from .train import shared_switches
from .workers import add_workers, take_workers

EXAMPLE = """example:
  python tools/sweep.py CONFIG train_dataloader.batch_size=64,128 \\
      model.neck.hid_channels+model.neck.out_channels=128,256 -- --amp
"""


def main(words: Sequence[str] | None = None, *, prog: str | None = None) -> None:
    """Parse and run; ``words`` default to the command line."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=__doc__,
        epilog=EXAMPLE,
        usage="%(prog)s [options] CONFIG KEY=A,B,C [KEY1+KEY2=A,B ...] [-- training arguments]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", help=CONFIG_HELP)
    parser.add_argument(
        "grid",
        nargs="+",
        metavar="KEY=A,B,C",
        help="values of a config key (KEY1+KEY2: the same values for several keys)",
    )
    parser.add_argument(
        "--work-dir", metavar="DIR", help="folder of the sweep (work_dirs/<config name>/sweep)"
    )
    parser.add_argument(
        "--protocols", nargs="+", default=DEFAULT_PROTOCOLS, metavar="NAME", help="knn linear"
    )
    parser.add_argument(
        "--seeds", nargs="+", type=int, default=[0], help="seeds; one run per point and seed (0)"
    )
    add_workers(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the runs and what is done, and stop")
    add_options(parser, help="override config keys at all points")
    words = sys.argv[1:] if words is None else list(words)
    cut = words.index("--") if "--" in words else len(words)
    args = vars(parser.parse_args(words[:cut]))
    check_paths(args)
    where = take_workers(args)
    shared_switches(words[cut + 1 :])

    from ssl_ext.apis.sweep import sweep
    from ssl_ext.apis.sweep.points import sweep_table
    from ssl_ext.apis.tables.overview import print_plan
    from ssl_ext.apis.tables.starters import choose_workers

    from .console import PlainConsole

    console = PlainConsole()
    if args.pop("dry_run"):
        args["show"] = partial(print_plan, console)
    workers = choose_workers(**where)
    points = sweep(args.pop("config"), args.pop("grid"), train_args=words[cut + 1 :], workers=workers, **args)
    if not points:
        return
    console.print(sweep_table(points, args["protocols"]))
    console.wrote(Path(points[0].folder).parent)
    if workers.note:
        console.print(workers.note)
    failed = [point for point in points if point.status == "failed"]
    for point in failed:
        console.print(f"failed: {point.reason}\n  log: {point.log}", soft_wrap=True)
    if failed:
        sys.exit(1)
