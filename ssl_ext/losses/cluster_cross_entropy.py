"""Cross-entropy of ODC, weighted by cluster size (Zhan et al., 2020)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .distributed import all_reduce_sum
from .standardize import at_least_float32, full_precision


def cluster_cross_entropy(logits: Tensor, labels: Tensor, counts: Tensor, *, power: float = 0.5) -> Tensor:
    """Weighted mean cross-entropy with sample weights ∝ (cluster size) ** −power (ODC, Sec. 3.2).

    Args:
        logits: (N, K).
        labels: (N,) int64, pseudo-labels from 0 to K − 1.
        counts: (K,) sizes of all clusters.
        power: exponent ≥ 0; 0 weights all samples equally.

    Returns:
        Scalar: Σ w · CE / Σ w over the batch of all processes.

    Raises:
        ValueError: if shapes do not match.

    >>> logits, labels = torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1])
    >>> cluster_cross_entropy(logits, labels, torch.tensor([4, 1]))  # (log 2 / 2 + log(1 + e)) / 1.5
    tensor(1.1066)
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or counts.shape != logits.shape[1:]:
        raise ValueError(
            f"logits (N, K), labels (N,) and counts (K,) do not fit: {tuple(logits.shape)}, "
            f"{tuple(labels.shape)}, {tuple(counts.shape)}"
        )
    with full_precision(logits):
        logits = at_least_float32(logits)
        weights = counts.to(logits).clamp(min=1).pow(-power)[labels]
        losses = F.cross_entropy(logits, labels, reduction="none")
        total, weight = all_reduce_sum(torch.stack([(weights * losses).sum(), weights.sum()])).unbind()
        return total / weight
