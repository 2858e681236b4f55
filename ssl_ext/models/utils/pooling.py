"""Pooling of backbone outputs to one feature vector per image."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def pool_features(outputs: Tensor | Sequence[Tensor]) -> Tensor:
    """Global average pooling of the last feature map, or the mean of the last tokens.

    Args:
        outputs: A feature map (N, C, H, W), tokens (N, L, C), features (N, C), or a sequence of them.

    Returns:
        Features of shape (N, C).
    """
    features = outputs if isinstance(outputs, Tensor) else outputs[-1]
    if features.dim() == 4:
        return features.mean(dim=(2, 3))
    return features.mean(dim=1) if features.dim() == 3 else features
