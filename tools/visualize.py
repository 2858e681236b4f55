#!/usr/bin/env python
"""Draw figures of a config, a run or a checkpoint as PNG and PDF."""

from ssl_ext.cli.visualize import main
from ssl_ext.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
