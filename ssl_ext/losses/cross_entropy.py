"""Softmax cross-entropy."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .distributed import all_reduce_mean
from .standardize import at_least_float32, full_precision


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Softmax cross-entropy, averaged over the batch of all processes.

    Args:
        logits: (N, K).
        labels: (N,) int64, classes from 0 to K − 1.

    Returns:
        Scalar, computed in float32 under autocast.

    >>> import torch
    >>> cross_entropy(torch.zeros(1, 2), torch.tensor([0])).exp()
    tensor(2.)
    """
    with full_precision(logits):
        return all_reduce_mean(F.cross_entropy(at_least_float32(logits), labels))
