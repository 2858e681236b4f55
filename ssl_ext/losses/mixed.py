"""Mixed batch: the result of mixing policies and the input of losses of mixed images."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Mixed:
    """A mixed batch: mixture n is ``lam[n]`` of image n and ``1 - lam[n]`` of image ``permutation[n]``.

    ``images`` (N, C, H, W), ``lam`` (N,) in [0, 1], ``permutation`` (N,) int64. Mixtures of more than two
    images also have ``weights`` (N, N), the share of image k in mixture n (rows sum to 1). Then ``lam`` is
    the diagonal and ``permutation`` the largest other contributor.
    """

    images: Tensor
    lam: Tensor
    permutation: Tensor
    weights: Tensor | None = None
