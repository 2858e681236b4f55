#!/usr/bin/env python
"""Write one HTML page with the embedding of a run, or of two side by side."""

from ssl_ext.cli.explore import main
from ssl_ext.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
