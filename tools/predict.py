#!/usr/bin/env python
"""Classify images with a classifier that `tools/evaluate.py --save` kept."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # the package, if it is not installed

from ssl_ext.cli.predict import main
from ssl_ext.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
