#!/usr/bin/env python
"""Run a table of experiments: every cell, every seed."""

from ssl_ext.cli.table import main
from ssl_ext.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
