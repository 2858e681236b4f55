#!/usr/bin/env python
"""Join the results of evaluations in tables (console, CSV, Markdown, LaTeX) and an HTML page."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # the package, if it is not installed

from ssl_ext.cli.report import main
from ssl_ext.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
