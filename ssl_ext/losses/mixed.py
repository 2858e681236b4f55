"""A mixed batch, as mixing policies return it and losses of mixed images read it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Mixed:
    """A mixed batch: mixture n is ``lam[n]`` of image n and ``1 - lam[n]`` of image ``permutation[n]``.

    A mixture of more than two images also has ``weights`` (N, N), the share of image k in mixture n (rows
    sum to 1). Then ``lam`` is the diagonal and ``permutation`` the largest other contributor.
    """

    images: Tensor
    lam: Tensor
    permutation: Tensor
    weights: Tensor | None = None
