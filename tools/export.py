#!/usr/bin/env python
"""Export the backbone of a checkpoint to another format, after checking that features are equal."""

from _door import enter

if __name__ == "__main__":
    enter("export")
