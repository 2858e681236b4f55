#!/usr/bin/env python
"""Compare two evaluations: two models on the same images, or two methods over pretraining seeds."""

from _door import enter

if __name__ == "__main__":
    enter("compare")
