"""Write one HTML page with the embedding of a run, or of two side by side: images, neighbours, classes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ssl_ext.errors import UserError
from ssl_ext.files import check_writable
from ssl_ext.names import PROJECTIONS

from .arguments import add_options, check_paths


def main(words: Sequence[str] | None = None, *, prog: str | None = None) -> None:
    """Parse and run; ``words`` default to the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="work directory or checkpoint; at most two")
    parser.add_argument("--config", help="config of the runs (default: the one in their checkpoints)")
    parser.add_argument("--split", help="split of evaluation_dataset (test)")
    parser.add_argument(
        "--projections", nargs="*", default=["tsne"], choices=PROJECTIONS, metavar="NAME",
        help="tsne, umap: projections beside pca (tsne)",
    )  # fmt: skip
    parser.add_argument("--limit", type=int, default=10_000, metavar="N", help="number of images (10000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of images, projections and clusters (0)")
    parser.add_argument(
        "--out", metavar="FILE", help="file to write (explore.html in the first run's folder)"
    )
    parser.add_argument(
        "--projector", action="store_true", help="also write the features for TensorBoard's projector"
    )
    parser.add_argument(
        "--no-names", dest="names", action="store_false", help="leave out file names, and number the groups"
    )
    add_options(parser)
    args = vars(parser.parse_args(words))
    check_paths(args)
    if args["out"] and Path(args["out"]).is_dir():
        raise UserError(f"--out '{args['out']}' is a folder; give a file.")
    if args["out"]:
        check_writable(Path(args["out"]).parent, "--out", "The page")

    from ssl_ext.apis import explore, parse_options

    from .console import PlainConsole

    args["options"] = parse_options(args["options"])
    console = PlainConsole()
    console.wrote(*explore(args.pop("runs"), say=console.print, **args))
