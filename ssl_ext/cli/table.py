"""Run a table of experiments: every cell of a paper's table, or of your own, with every seed.

The same command resumes after any interruption, shows what is done, and helps a run that is in progress.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ssl_ext.errors import UserError

from .arguments import add_options
from .train import shared_switches
from .workers import add_workers, take_workers

EXAMPLE = """examples:
  python tools/table.py trimix_table1 --dry-run
  python tools/table.py trimix_table1 --only data=cifar10 method=byol,trimix --seeds 0 1 2 --gpus 0,1
  python tools/table.py --work work_dirs/tables/trimix_table1        (a further worker, anywhere)
"""

OTHERS = ("work", "processes", "no_wait", "published")
OLD = 60.0  # seconds after which a worker without a command writes the table again


def main(words: Sequence[str] | None = None, *, prog: str | None = None) -> None:
    """Parse and run; ``words`` default to the command line."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=__doc__,
        epilog=EXAMPLE,
        usage="%(prog)s [options] FILE [-- training arguments]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", nargs="?", help="table file, or the name of one in configs/papers")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="S", help="seeds (the table's)")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="AXIS=A,B", help="only cells with these values of an axis"
    )
    parser.add_argument(
        "--reference",
        nargs="+",
        default=[],
        metavar="AXIS=A",
        help="row that others are compared with (the table's)",
    )
    add_workers(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the runs and what is done, and stop")
    parser.add_argument("--show", action="store_true", help="print the planned table as it stands, and stop")
    parser.add_argument(
        "--estimate", action="store_true", help="run the first steps of each training, print time and memory"
    )
    parser.add_argument(
        "--published", nargs="?", const="text", choices=("text", "markdown"),
        help="print the published figures, and stop",
    )  # fmt: skip
    parser.add_argument("--retry-failed", action="store_true", help="run failed jobs again")
    parser.add_argument("--skip-missing", action="store_true", help="run cells whose data are there")
    parser.add_argument("--out", default="work_dirs/tables", metavar="DIR", help="folder (work_dirs/tables)")
    parser.add_argument("--work", metavar="DIR", help="be a worker of the planned table in DIR")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="with --work: of its jobs (1)")
    parser.add_argument(
        "--no-wait", action="store_true", help="with --work: end when no job can be started; write the table"
    )
    add_options(parser, help="override config keys of every cell")
    words = sys.argv[1:] if words is None else list(words)
    cut = words.index("--") if "--" in words else len(words)
    args = parser.parse_args(words[:cut])
    switches = shared_switches(words[cut + 1 :])
    if args.work is not None:
        sys.exit(_work(_planned(args.work), args.processes, alone=args.no_wait))
    if args.file is None:
        raise UserError("Give a table file, or the name of one in configs/papers.")
    given = vars(args)
    where = take_workers(given)

    from ssl_ext.config.papers import find_table

    file = find_table(args.file)

    from .console import PlainConsole

    console = PlainConsole()
    if args.published:
        from ssl_ext.apis.tables.published import published_grid

        grid = published_grid(file)
        return console.print_grids([grid]) if args.published == "text" else _write(grid.markdown())

    from ssl_ext.apis.tables.run import run_table
    from ssl_ext.apis.tables.starters import choose_workers

    settings = {name: value for name, value in given.items() if name not in OTHERS}
    settings |= dict(workers=choose_workers(**where), train_args=words[cut + 1 :], switches=switches)
    sys.exit(run_table(settings.pop("file"), console, **settings))


def _planned(folder: str) -> Path:
    path = Path(folder).resolve()
    if not (path / "plan.json").is_file():
        raise UserError(f"--work '{folder}' has no plan.json: give the folder of a planned table.")
    return path


def _work(folder: Path, processes: int, *, alone: bool) -> int:
    """Be a worker; ``alone``, without a command that draws the table, also write its files now and then."""
    from ssl_ext.apis.tables.worker import work

    page, ended = folder / "table.html", []

    def draw(age: float) -> None:
        if alone and not (page.exists() and time.time() - page.stat().st_mtime < age):
            from ssl_ext.apis.tables.live import redraw

            if fault := redraw(folder):
                _write(fault)

    def say(text: str) -> None:
        _write(text)
        ended.append(text)
        draw(OLD)

    status = work(folder, processes, wait=not alone, say=say)
    if ended and not status:
        draw(0)
    return status


def _write(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
