"""Classify images with a classifier that `evaluate --save` kept; writes a CSV file, a line for each image."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence

from ssl_ext.errors import UserError

from .arguments import check_paths


def main(words: Sequence[str] | None = None, *, prog: str | None = None) -> None:
    """Parse and run; ``words`` default to the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("checkpoint", metavar="MODEL", help="file that evaluate --save wrote")
    parser.add_argument(
        "places", metavar="SOURCE", help="folder of images, CSV file with a column file, or .npz file"
    )
    parser.add_argument("more", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--out", metavar="FILE", help="file to write (SOURCE_predictions.csv)")
    parser.add_argument("--data-root", metavar="DIR", help="folder of the files of a CSV (its own)")
    parser.add_argument("--split", default="test", help="split of an .npz file (test)")
    parser.add_argument("--batch-size", type=int, default=256, metavar="N", help="images together (256)")
    parser.add_argument(
        "--num-workers", type=int, default=0, metavar="N", help="processes that decode image files (0)"
    )
    parser.add_argument("--device", help="cpu, cuda, ... (CUDA if available)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    args = vars(parser.parse_args(words))
    if more := args.pop("more"):
        given = [args["checkpoint"], args["places"], *more]
        raise UserError(
            f"{parser.prog} takes one MODEL and one SOURCE, but there are {len(given)} paths: name one "
            f"model, such as {shlex.join([given[0], given[-1]])}"
        )
    check_paths(args)

    from ssl_ext.apis import predict

    from .console import PlainConsole

    PlainConsole().wrote(predict(args.pop("checkpoint"), args.pop("places"), **args))
