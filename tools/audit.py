#!/usr/bin/env python
"""Audit the data of a config: groups and equal images in several splits, class counts, channels, sizes."""

from ssl_ext.cli.audit import main
from ssl_ext.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
