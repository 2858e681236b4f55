#!/usr/bin/env python
"""Export the backbone of a checkpoint to another format, after checking that features are equal."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # the package, if it is not installed

from ssl_ext.cli.export import main
from ssl_ext.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
