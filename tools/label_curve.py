#!/usr/bin/env python
"""Measure scores over numbers of labels, and extrapolate to more labels by a power law."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # the package, if it is not installed

from ssl_ext.cli.label_curve import main
from ssl_ext.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
