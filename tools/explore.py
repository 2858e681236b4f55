#!/usr/bin/env python
"""Write one HTML page with the embedding of a run, or of two side by side."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # the package, if it is not installed

from ssl_ext.cli.explore import main
from ssl_ext.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
