"""All tools in one program: ``ssl-ext COMMAND ...``, the same as ``python -m ssl_ext.cli COMMAND ...``."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

from ssl_ext import __version__
from ssl_ext.errors import run_tool

COMMANDS = {
    "train": "pretrain a model",
    "evaluate": "evaluate a checkpoint",
    "audit": "examine the data of a config",
    "pack": "pack image files for fast loading",
    "label-curve": "measure scores over numbers of labels and extrapolate",
    "export": "write a backbone for another program",
    "predict": "classify images with a trained classifier",
    "report": "join the results of many evaluations",
    "compare": "compare two models, or two methods over pretraining seeds",
    "table": "run a table of experiments",
    "sweep": "train and evaluate every point of a grid",
    "visualize": "draw the figures of a config, a run or a checkpoint",
    "explore": "write a page with the embedding of a run",
}


def dispatch() -> None:
    """Run the command that the first argument names."""
    parser = argparse.ArgumentParser(
        prog="ssl-ext",
        description="Self-supervised visual representation learning.",
        epilog="commands:\n"
        + "".join(f"  {name:<11} {words}\n" for name, words in COMMANDS.items())
        + "\n'ssl-ext COMMAND --help' lists the arguments of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of the commands below")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="arguments of the command")
    if len(sys.argv) == 1:
        parser.print_help()
        return
    args = parser.parse_args()
    command = import_module(f"ssl_ext.cli.{args.command.replace('-', '_')}")
    command.main(args.arguments, prog=f"{parser.prog} {args.command}")


def main() -> None:
    """Entry of the console command ``ssl-ext``."""
    run_tool(dispatch)


if __name__ == "__main__":
    main()
