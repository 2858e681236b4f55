"""Pooling of backbone outputs to one feature vector per image."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def pool_features(outputs: Tensor | Sequence[Tensor]) -> Tensor:
    """Global average pooling of the last feature map.

    Args:
        outputs: A feature map (N, C, H, W), a sequence of them, or features (N, C).

    Returns:
        Features of shape (N, C).
    """
    features = outputs if isinstance(outputs, Tensor) else outputs[-1]
    return features.mean(dim=(2, 3)) if features.dim() == 4 else features
