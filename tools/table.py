#!/usr/bin/env python
"""Run a table of experiments: every cell, every seed."""

from _door import enter

if __name__ == "__main__":
    enter("table")
