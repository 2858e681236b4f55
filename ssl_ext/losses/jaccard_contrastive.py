"""Contrastive loss of two projectors and their Jaccard similarity (Jiang et al., "Beyond linear metric")."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from .contrastive import contrast, queue_similarities, view_similarities, without_self
from .jaccard import jaccard_of_cosines
from .standardize import check_embeddings, full_precision, unit_rows


class JaccardTerms(NamedTuple):
    """Unweighted terms of Eq. 4: NCE on each projector's cosine and on the Jaccard similarity.

    ``positive_top1`` in [0, 1], without gradient, is that of the Jaccard similarity.
    """

    projector1: Tensor
    projector2: Tensor
    jaccard: Tensor
    positive_top1: Tensor


def jaccard_contrastive_loss(
    query: Sequence[Tensor],
    key: Sequence[Tensor],
    queue: Sequence[Tensor] | None = None,
    *,
    alpha: Sequence[float] = (1 / 3, 1 / 3),
    temperature: float = 0.5,
    intersection: str = "guarded",
    eps: float = 0.05,
) -> Tensor:
    """α1 · NCE(s1) + α2 · NCE(s2) + (1 - α1 - α2) · NCE(J) (Eq. 4).

    Args:
        query: embeddings of projector 1 (N, D1) and projector 2 (N, D2); normalised here.
        key: the same for the positives.
        queue: negatives as unit vectors (K, D1) and (K, D2), the same on every process (MoCo variant).
            None: query and key are two views, whose negatives are all other views (SimCLR variant).
        alpha: α1, α2 >= 0 with a sum of at most 1.
        temperature: τ > 0 of all three terms.
        intersection: see ``jaccard_similarity``.
        eps: see ``jaccard_similarity``.

    Returns:
        Scalar, over all processes as in ``nt_xent`` and ``info_nce``.

    Raises:
        ValueError: if the shapes do not match or a setting is out of range.
    """
    weights = jaccard_weights(alpha)
    terms = jaccard_contrastive_terms(
        query, key, queue, temperature=temperature, intersection=intersection, eps=eps
    )
    return weights[0] * terms.projector1 + weights[1] * terms.projector2 + weights[2] * terms.jaccard


def jaccard_contrastive_terms(
    query: Sequence[Tensor],
    key: Sequence[Tensor],
    queue: Sequence[Tensor] | None = None,
    *,
    temperature: float = 0.5,
    intersection: str = "guarded",
    eps: float = 0.05,
) -> JaccardTerms:
    """Unweighted terms of ``jaccard_contrastive_loss``; same arguments and errors."""
    for z_query, z_key in zip(query, key, strict=True):
        check_embeddings(z_query, z_key)
    with full_precision(query[0]):
        units = [(unit_rows(q), unit_rows(k)) for q, k in zip(query, key, strict=True)]
        if queue is None:
            (s1, positive), (s2, _) = (view_similarities(*pair) for pair in units)
        else:
            (s1, positive), (s2, _) = (
                queue_similarities(*pair, z) for pair, z in zip(units, queue, strict=True)
            )
        matrices = [s1, s2, jaccard_of_cosines(s1, s2, intersection=intersection, eps=eps)]
        if queue is None:
            matrices = [without_self(s) for s in matrices]
        first, second, fused = (contrast(s, positive, temperature) for s in matrices)
    return JaccardTerms(first.loss, second.loss, fused.loss, fused.positive_top1)


def jaccard_weights(alpha: Sequence[float]) -> tuple[float, float, float]:
    """Return α1, α2 and 1 - α1 - α2; raise ValueError unless all are in [0, 1]."""
    if len(alpha) != 2 or min(alpha) < 0 or sum(alpha) > 1 + 1e-9:
        raise ValueError(
            f"alpha is {tuple(alpha)}; it must be two numbers >= 0 with a sum of at most 1 "
            "(config key model.head.alpha)"
        )
    return alpha[0], alpha[1], max(0.0, 1 - alpha[0] - alpha[1])
