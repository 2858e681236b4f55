#!/usr/bin/env python
"""Write the backbone of a checkpoint for another program, once it was seen to give the same features.

For example `tools/export.py work_dirs/run/epoch_200.pth --to torchvision` writes
work_dirs/run/export/epoch_200_torchvision.pth, and prints how to load it: a ResNet-50 by

    net = torchvision.models.resnet50()
    net.fc = torch.nn.Identity()
    net.load_state_dict(torch.load("epoch_200_torchvision.pth", weights_only=True)["state_dict"])
"""

import argparse

from rich.console import Console

from ssl_ext.apis import export
from ssl_ext.errors import run_tool
from ssl_ext.exporting import FORMATS


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", help="of this project, or of another one with --config")
    parser.add_argument("--to", required=True, metavar="FORMAT", help=" ".join(FORMATS))
    parser.add_argument("--config", help="of the pretraining (the one in the checkpoint, or beside it)")
    parser.add_argument("--out", metavar="FILE", help="export/ beside the checkpoint")
    parser.add_argument(
        "--network", metavar="NAME", help="online or momentum (online, where a model says no other)"
    )
    parser.add_argument(
        "--image-size", type=int, default=64, metavar="N", help="of the images it is checked on (64)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there")
    parser.add_argument(
        "--allow-partial",
        action="store_true",
        help="accept weights that match under 95 %% of the backbone",
    )
    args = vars(parser.parse_args())
    report = export(args.pop("checkpoint"), args.pop("to"), **args)
    console = Console()
    for line in report.lines():
        console.print(line, soft_wrap=True, highlight=False, markup=False)


if __name__ == "__main__":
    run_tool(main)
