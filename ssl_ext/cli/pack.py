"""Pack image files in one file per split, for fast loading by PackedDataset.

SOURCE is a folder of images, with splits and class folders as in FolderDataset, or a config, whose
evaluation_dataset (or else train_dataloader.dataset) is packed. A killed run is finished by the same command.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ssl_ext.config.locate import config_file
from ssl_ext.errors import UserError
from ssl_ext.files import check_writable

from .arguments import add_options


def main(words: Sequence[str] | None = None, *, prog: str | None = None) -> None:
    """Parse and run; ``words`` default to the command line."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", metavar="SOURCE", help="folder of images, or config file")
    parser.add_argument("out", metavar="OUT", nargs="?", help="folder of the pack")
    parser.add_argument("--check", action="store_true", help="compare the pack SOURCE with its checksums")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--size", type=int, metavar="S", help="store arrays of S x S pixels, centre crops")
    kind.add_argument(
        "--short-side", type=int, metavar="S",
        help="reduce larger images to a short side of S pixels as JPEG; others, or all, are stored unchanged",
    )  # fmt: skip
    parser.add_argument("--quality", type=int, default=95, help="JPEG quality of reduced images (95)")
    parser.add_argument("--channels", type=int, default=3, help="channels of arrays and reduced images (3)")
    parser.add_argument("--labels-file", metavar="CSV", help="CSV file of a folder, as in ImageFiles")
    parser.add_argument("--group", metavar="COLUMN", help="its column of groups")
    parser.add_argument("--workers", type=int, default=2, help="processes that read images (2)")
    add_options(parser)
    args = vars(parser.parse_args(words))
    check, source = args.pop("check"), Path(args["source"]).expanduser()
    if not source.is_dir():
        config_file(args["source"])
    if not check:
        if args["out"] is None:
            raise UserError("Give the folder of the pack: ssl-ext pack SOURCE OUT.")
        check_writable(args["out"], "OUT", "The pack")

    from .console import PlainConsole

    if check:
        from ssl_ext.datasets.packed import check_pack

        for split, count in check_pack(source).items():
            PlainConsole().print(f"{split}: {count:,} images match their checksums")
        return
    from ssl_ext.apis import pack, parse_options

    args["options"] = parse_options(args["options"])
    PlainConsole().wrote(*pack(args.pop("source"), args.pop("out"), **args))
