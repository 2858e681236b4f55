#!/usr/bin/env python
"""Evaluate a checkpoint with any protocols, baselines and seeds, in one table."""

from _door import enter

if __name__ == "__main__":
    enter("evaluate")
