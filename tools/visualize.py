#!/usr/bin/env python
"""Draw figures of a config, a run or a checkpoint as PNG and PDF."""

from _door import enter

if __name__ == "__main__":
    enter("visualize")
