#!/usr/bin/env python
"""Pack the image files of a folder or a config in one file per split, for fast loading."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # the package, if it is not installed

from ssl_ext.cli.pack import main
from ssl_ext.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
