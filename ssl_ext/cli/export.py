"""Export the backbone of a checkpoint to another format, after checking that features are equal.

For example `tools/export.py work_dirs/run/epoch_200.pth --to torchvision` writes
work_dirs/run/export/epoch_200_torchvision.pth and prints the code that loads it, for a ResNet-50

    import torch, torchvision
    net = torchvision.models.resnet50()
    net.fc = torch.nn.Identity()
    net.load_state_dict(torch.load("epoch_200_torchvision.pth", weights_only=True)["state_dict"])
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ssl_ext.names import EXPORT_FORMATS

from .arguments import add_weight_options, check_paths


def main(words: Sequence[str] | None = None, *, prog: str | None = None) -> None:
    """Parse and run; ``words`` default to the command line."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "checkpoint", help="checkpoint or work dir of this project, or another file of weights with --config"
    )
    parser.add_argument("--to", required=True, metavar="FORMAT", help=" ".join(EXPORT_FORMATS))
    parser.add_argument(
        "--config", help="config of the pretraining (default: the one in the checkpoint, or beside it)"
    )
    parser.add_argument(
        "--out", metavar="FILE", help="file to write (default: in export/ beside the checkpoint)"
    )
    parser.add_argument(
        "--network", metavar="NAME", help="online or momentum (default: set by the model, usually online)"
    )
    parser.add_argument(
        "--image-size",
        type=int,
        metavar="N",
        help="side of the images of the check (that of training, or 64)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    parser.add_argument(
        "--head",
        action="store_true",
        help="export the whole classifier that evaluate --save kept (onnx): images to probabilities",
    )
    add_weight_options(parser)
    args = vars(parser.parse_args(words))
    check_paths(args)

    from ssl_ext.apis import export

    from .console import PlainConsole

    report = export(args.pop("checkpoint"), args.pop("to"), **args)
    console = PlainConsole()
    for line in report.lines():
        console.print(line, soft_wrap=True)
