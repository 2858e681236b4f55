#!/usr/bin/env python
"""Train and evaluate every point of a grid over config keys."""

from ssl_ext.cli.sweep import main
from ssl_ext.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
