#!/usr/bin/env python
"""Train and evaluate every point of a grid over config keys."""

from _door import enter

if __name__ == "__main__":
    enter("sweep")
