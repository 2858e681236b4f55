#!/usr/bin/env python
"""Pack the image files of a folder or a config in one file per split, for fast loading."""

from ssl_ext.cli.pack import main
from ssl_ext.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
