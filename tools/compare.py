#!/usr/bin/env python
"""Compare two evaluations: two models on the same images, or two methods over pretraining seeds."""

from ssl_ext.cli.compare import main
from ssl_ext.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
