#!/usr/bin/env python
"""Measure scores over numbers of labels, and extrapolate to more labels by a power law."""

from ssl_ext.cli.label_curve import main
from ssl_ext.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
