#!/usr/bin/env python
"""Pretrain a model: on the CPU, on one GPU, or started by torchrun (tools/dist_train.sh)."""

import argparse

from ssl_ext.apis import parse_options, pretrain
from ssl_ext.errors import run_tool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="config file, such as configs/trimix/...py")
    parser.add_argument("--work-dir", help="where the run is written (work_dirs/<config name>)")
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        default=False,
        metavar="auto|PATH",
        help="go on from the newest checkpoint of the work dir, or from PATH",
    )
    parser.add_argument("--init", metavar="PATH", help="weights to start from")
    parser.add_argument(
        "--allow-partial",
        action="store_true",
        help="accept --init weights that match under 95 %% of the backbone",
    )
    parser.add_argument("--amp", action="store_true", help="automatic mixed precision")
    parser.add_argument("--seed", type=int, help="random seed (from the config)")
    parser.add_argument("--deterministic", action="store_true", help="deterministic kernels")
    parser.add_argument("--compile", action="store_true", help="compile the backbone (torch.compile)")
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="override config keys"
    )
    args = vars(parser.parse_args())
    args["options"] = parse_options(args.pop("cfg_options"))
    pretrain(args.pop("config"), **args)


if __name__ == "__main__":
    run_tool(main)
