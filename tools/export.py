#!/usr/bin/env python
"""Write the backbone of a checkpoint for another program, once it was seen to give the same features."""

from ssl_ext.cli.export import main
from ssl_ext.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
