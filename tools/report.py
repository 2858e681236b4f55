#!/usr/bin/env python
"""Join the results of evaluations in tables (console, CSV, Markdown, LaTeX) and an HTML page."""

from ssl_ext.cli.report import main
from ssl_ext.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
