"""Runs a command of the package, for the tools of this folder."""

import sys
from importlib import import_module


def enter(command: str) -> None:
    """Run ``ssl_ext.cli.<command>``; without the package say how to get it."""
    try:
        from ssl_ext.errors import run_tool
    except ModuleNotFoundError as error:
        if error.name != "ssl_ext":
            raise
        sys.exit(
            f"error: {sys.executable} has no package 'ssl_ext': activate the environment of the project "
            "(source .venv/bin/activate; bash tools/quickstart.sh makes it)."
        )
    run_tool(import_module(f"ssl_ext.cli.{command}").main)
