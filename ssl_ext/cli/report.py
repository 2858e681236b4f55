"""Join the results of many evaluations in tables (terminal, CSV, Markdown, LaTeX) and an HTML page."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ssl_ext.names import REPORT_LAYOUTS

from .arguments import check_paths


def main(words: Sequence[str] | None = None, *, prog: str | None = None) -> None:
    """Parse and run; ``words`` default to the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("places", nargs="+", metavar="DIR", help="folders that are searched for results.json")
    parser.add_argument(
        "--out", dest="out_dir", default="report", metavar="DIR", help="output folder (report)"
    )
    parser.add_argument(
        "--metric",
        dest="metrics",
        nargs="+",
        metavar="NAME",
        help="metrics to show, such as acc auc f1 ece nmi",
    )
    parser.add_argument(
        "--which", choices=("last", "best"),
        help="epoch (last; with --clinical that of the classifier that evaluate --save kept)",
    )  # fmt: skip
    parser.add_argument(
        "--join-runs",
        action="store_true",
        help="treat runs of one algorithm and config file as repeats: mean ± std over them",
    )
    parser.add_argument(
        "--layout", default="long", metavar="NAME",
        help=f"{' '.join(REPORT_LAYOUTS)}: a row per measurement, or methods x numbers of labels (long)",
    )  # fmt: skip
    parser.add_argument(
        "--references",
        metavar="FILE",
        help="configs/papers, or one table: published figures in brackets (layout budgets)",
    )
    parser.add_argument(
        "--specificity", type=float, default=0.9, help="specificity of the classes' sensitivities (0.9)"
    )
    parser.add_argument("--smoothing", type=float, default=0.6, help="smoothing of curves, in [0, 1) (0.6)")
    clinical = parser.add_argument_group("page of one classifier for medical readers (clinical.html)")
    clinical.add_argument("--clinical", action="store_true", help="write it, and nothing else")
    clinical.add_argument(
        "--where", nargs="+", default=[], metavar="KEY=VALUE",
        help="measurement, such as protocol=linear budget=100",
    )  # fmt: skip
    clinical.add_argument(
        "--by", nargs="+", default=[], metavar="COLUMN",
        help="columns of --metadata for tables, such as site age; numbers are cut at quartiles, or age=40,60",
    )  # fmt: skip
    clinical.add_argument("--metadata", metavar="FILE", help="CSV file with a column 'file' or 'row'")
    clinical.add_argument(
        "--no-names", dest="names", action="store_false", help="leave out the file names of images"
    )
    args = vars(parser.parse_args(words))
    check_paths(args)

    from .console import PlainConsole

    page = {name: args.pop(name) for name in ("where", "by", "metadata", "names")}
    if args.pop("clinical"):
        from ssl_ext.apis.clinical import clinical_report

        used = {name: args[name] for name in ("places", "out_dir", "which", "specificity")}
        if ignored := [
            name for name, value in args.items() if name not in used and value != parser.get_default(name)
        ]:
            parser.error(f"--{ignored[0].replace('_', '-')} is not for --clinical")
        PlainConsole().wrote(clinical_report(**used, **page))
        return
    if needless := [name for name, value in page.items() if value != parser.get_default(name)]:
        parser.error(f"--{needless[0].replace('names', 'no-names')} is for --clinical")

    from ssl_ext.apis.report import report

    tables, written = report(**{**args, "which": args["which"] or "last"})
    console = PlainConsole()
    console.print_grids(tables)
    console.wrote(*written)
