#!/usr/bin/env python
"""Classify images with a classifier that `tools/evaluate.py --save` kept."""

from ssl_ext.cli.predict import main
from ssl_ext.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
