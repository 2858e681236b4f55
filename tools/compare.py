#!/usr/bin/env python
"""Compare two evaluations: two models on the same images, or two methods over pretraining seeds."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # the package, if it is not installed

from ssl_ext.cli.compare import main
from ssl_ext.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
