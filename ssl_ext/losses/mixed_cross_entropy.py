"""Cross-entropy of mixed images (Zhang et al., 2018)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .distributed import all_reduce_mean, mean_over
from .mixed import Mixed
from .standardize import at_least_float32, full_precision


def mixed_cross_entropy(
    logits: Tensor, labels: Tensor, mixed: Mixed, *, known: Tensor | None = None
) -> Tensor:
    """λ · CE(logits, y_i) + (1 − λ) · CE(logits, y_j), averaged over the batch (Eq. 3 of AMix).

    For mixtures of more than two samples: Σ_k weights_k · CE(logits, y_k).

    Args:
        logits: (N, K) of the mixed images.
        labels: (N,) int64, classes of the unmixed images.
        mixed: The mixed batch; ``lam``, ``permutation`` and ``weights`` are used.
        known: (N,) bool, False for images without a class; pairs with such an image are skipped.

    Returns:
        Scalar, averaged over the pairs of all processes (0 if there are none), in float32 under autocast.

    Raises:
        ValueError: if shapes do not match.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or mixed.lam.shape != labels.shape:
        raise ValueError(
            f"logits (N, K), labels (N,) and mixed.lam (N,) do not fit: {tuple(logits.shape)}, "
            f"{tuple(labels.shape)}, {tuple(mixed.lam.shape)}"
        )
    with full_precision(logits):
        logits = at_least_float32(logits)
        if known is not None:
            labels = labels.clamp(min=0)
        if mixed.weights is not None:
            log_p = F.log_softmax(logits, dim=1)[:, labels]
            return all_reduce_mean(-(mixed.weights * log_p).sum(1).mean())
        own, other = (
            F.cross_entropy(logits, target, reduction="none")
            for target in (labels, labels[mixed.permutation])
        )
        loss = mixed.lam * own + (1 - mixed.lam) * other
        if known is None:
            return all_reduce_mean(loss.mean())
        return mean_over(loss, known & known[mixed.permutation])
