#!/usr/bin/env python
"""Classify images with a classifier that `tools/evaluate.py --save` kept."""

from _door import enter

if __name__ == "__main__":
    enter("predict")
