#!/usr/bin/env python
"""Draw the figures of a config, a run or a checkpoint, each as PNG and PDF."""

import argparse
from pathlib import Path

from rich.console import Console

from ssl_ext.apis import parse_options
from ssl_ext.apis.visualize import (
    curves_figure,
    embedding_figure,
    matrices_figure,
    scores_figure,
    views_figure,
)
from ssl_ext.errors import run_tool
from ssl_ext.visualization import save_figure


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, function, words: str, *positional: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=words, description=words.capitalize() + ".")
        sub.set_defaults(function=function)
        for argument in positional:
            sub.add_argument(argument)
        sub.add_argument("--out", default="figures", metavar="DIR", help="folder of the files (figures)")
        if "config" in positional:
            sub.add_argument(
                "--cfg-options",
                dest="options",
                nargs="+",
                default=[],
                metavar="KEY=VALUE",
                help="override config keys",
            )
        return sub

    views = command("views", views_figure, "training images beside their views", "config")
    views.add_argument("--images", type=int, default=8, help="how many images (8)")
    views.add_argument("--seed", type=int, default=0, help="of the images and their views")

    curves = command("curves", curves_figure, "logged losses of runs over their iterations")
    curves.add_argument("runs", nargs="+", metavar="RUN", help="work directory of a run")
    curves.add_argument("--keys", nargs="+", metavar="NAME", help="logged terms (the loss and its terms)")
    curves.add_argument("--smoothing", type=float, default=0.6, help="of a moving average, in [0, 1) (0.6)")

    matrices = command(
        "matrices",
        matrices_figure,
        "how TriMix takes mixed images apart: targets, similarities and their softmax",
        "config",
        "checkpoint",
    )
    matrices.add_argument("--batch", type=int, default=10, help="how many images are shown (10)")
    matrices.add_argument("--lam", type=float, default=0.7, help="share of the first image (0.7)")
    matrices.add_argument("--seed", type=int, default=0, help="of the images")
    matrices.add_argument("--split", default="test", help="of evaluation_dataset (test)")

    scores = command("scores", scores_figure, "accuracies of evaluations side by side")
    scores.add_argument("results", nargs="+", metavar="RESULTS.json", help="written by tools/evaluate.py")
    scores.add_argument("--which", choices=("last", "best"), default="last", help="epoch (last)")

    embed = command("embed", embedding_figure, "features on two principal components", "config", "checkpoint")
    embed.add_argument("--split", default="test", help="of evaluation_dataset (test)")
    return parser


def main() -> None:
    args = vars(_parser().parse_args())
    name, out, function = args.pop("command"), args.pop("out"), args.pop("function")
    if "options" in args:
        args["options"] = parse_options(args["options"])
    given = [args.pop(key) for key in ("config", "checkpoint", "runs", "results") if key in args]
    figure = function(*given, **args)
    for path in save_figure(figure, Path(out) / name):
        Console().print(f"wrote {path}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    run_tool(main)
