#!/usr/bin/env python
"""Train and evaluate every point of a grid over config keys."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # the package, if it is not installed

from ssl_ext.cli.sweep import main
from ssl_ext.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
