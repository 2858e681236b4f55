"""Jaccard similarity of images under two projectors (Jiang et al., "Beyond linear metric")."""

import torch
from torch import Tensor

from .standardize import at_least_float32, full_precision

INTERSECTIONS = ("guarded", "raw", "clamp", "affine")


def jaccard_similarity(
    a1: Tensor, b1: Tensor, a2: Tensor, b2: Tensor, *, intersection: str = "guarded", eps: float = 0.05
) -> Tensor:
    """J = s / (s + ds) of all pairs, with s = <a1, b1> and ds = |a2 - b2|² (Eq. 2).

    ``'guarded'`` is s / max(s + ds, eps): Eq. 2 wherever s + ds > eps, with slopes of at most
    (1 + eps) / eps². ``'raw'`` is Eq. 2 unchanged, with poles where s + ds = 0. ``'clamp'`` replaces s by
    max(s, 0) and ``'affine'`` by (1 + s) / 2, both with ``eps`` added to the denominator: J is in [0, 1] and
    its slopes are at most 1 / eps.

    Args:
        a1: (N, D1) unit embeddings of projector 1.
        b1: (M, D1) unit embeddings of projector 1.
        a2: (N, D2) unit embeddings of projector 2, of the same images as ``a1``.
        b2: (M, D2) unit embeddings of projector 2, of the same images as ``b1``.
        intersection: ``'guarded'``, ``'raw'``, ``'clamp'`` or ``'affine'``.
        eps: smallest denominator (``'guarded'``), or added to it, > 0; not used by ``'raw'``.

    Returns:
        (N, M).

    Raises:
        ValueError: if the numbers of rows differ, ``intersection`` is unknown or ``eps`` <= 0.

    >>> x, y = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.6, 0.8]])
    >>> jaccard_similarity(x, y, x, y, intersection="raw")  # 0.6 / (0.6 + 0.8)
    tensor([[0.4286]])
    """
    if len(a1) != len(a2) or len(b1) != len(b2):
        found = ", ".join(str(len(z)) for z in (a1, b1, a2, b2))
        raise ValueError(f"both projectors must see the same images; a1, b1, a2, b2 have {found} rows")
    with full_precision(a1):
        a1, b1, a2, b2 = (at_least_float32(z) for z in (a1, b1, a2, b2))
        return jaccard_of_cosines(a1 @ b1.T, a2 @ b2.T, intersection=intersection, eps=eps)


def jaccard_of_cosines(s1: Tensor, s2: Tensor, *, intersection: str, eps: float) -> Tensor:
    """Elementwise Jaccard similarity from the cosines s1, s2 (N, M) of both projectors."""
    check_jaccard(intersection, eps)
    # Rounding can make the cosine of equal vectors exceed 1.
    half_distance = 1 - s2.clamp_max(1)
    if intersection in ("guarded", "raw"):
        union = torch.add(s1, half_distance, alpha=2)
        return s1 / (union.clamp_min(eps) if intersection == "guarded" else union)
    shared = (s1 if intersection == "clamp" else (1 + s1) / 2).clamp_min(0)
    return shared / torch.add(shared + eps, half_distance, alpha=2)


def check_jaccard(intersection: str, eps: float) -> None:
    """Raise ValueError unless ``intersection`` is known and ``eps`` > 0."""
    if intersection not in INTERSECTIONS:
        raise ValueError(
            f"intersection is {intersection!r}; allowed are {', '.join(INTERSECTIONS)} "
            "(config key model.head.intersection)"
        )
    if not eps > 0:
        raise ValueError(f"eps must be > 0, got {eps} (config key model.head.eps)")
