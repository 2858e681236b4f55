#!/usr/bin/env python
"""Audit the data of a config: groups and equal images in several splits, class counts, channels, sizes."""

from _door import enter

if __name__ == "__main__":
    enter("audit")
