#!/usr/bin/env python
"""Pretrain a model on the CPU, on one GPU, or with torchrun (tools/dist_train.sh)."""

from _door import enter

if __name__ == "__main__":
    enter("train")
