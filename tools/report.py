#!/usr/bin/env python
"""Join the results of many evaluations: a table here, as CSV, Markdown and LaTeX, and one HTML page."""

from ssl_ext.cli.report import main
from ssl_ext.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
