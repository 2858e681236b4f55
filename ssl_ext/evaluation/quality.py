"""Label-free measures of embeddings that indicate collapse."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def _check(features: Tensor) -> None:
    if features.ndim != 2 or len(features) == 0:
        raise ValueError(f"features of shape {tuple(features.shape)}: (N, D) with N > 0 is needed")


def rankme(features: Tensor) -> float:
    """Effective rank exp(entropy of σ/Σσ) of (N, D) features, from 1 to min(N, D).

    Garrido et al., "RankMe", 2023, Eq. 1. The singular values σ are computed from the Gram matrix in
    float64; those below its rounding error are set to zero, and all-zero features give 0. Raises
    ValueError unless features are (N, D) with N > 0.

    >>> round(rankme(torch.eye(8)), 6)
    8.0
    """
    _check(features)
    x = features.detach().double()
    gram = x.T @ x if len(x) >= x.shape[1] else x @ x.T
    squared = torch.linalg.eigvalsh(gram)
    floor = squared[-1] * max(x.shape) * torch.finfo(x.dtype).eps
    sigma = squared.where(squared > floor, 0).sqrt()
    total = float(sigma.sum())
    if total == 0:
        return 0.0
    return float(torch.special.entr(sigma / total).sum().exp())


def feature_std(features: Tensor) -> float:
    """Standard deviation of the L2-normalised rows of (N, D) features, averaged over dimensions.

    About 1/√D if the embeddings are uniform on the sphere, 0 if they have collapsed to a point (Chen
    and He, "SimSiam", 2021, Section 4.1). Raises ValueError unless features are (N, D) with N > 0.

    >>> feature_std(torch.ones(4, 3))
    0.0
    """
    _check(features)
    return float(F.normalize(features.detach().float(), dim=1).std(dim=0, unbiased=False).mean())
