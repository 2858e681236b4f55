#!/usr/bin/env python
"""Draw figures of a config, a run or a checkpoint as PNG and PDF."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # the package, if it is not installed

from ssl_ext.cli.visualize import main
from ssl_ext.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
