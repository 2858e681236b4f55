"""PIRL: pretext-invariant representations (Misra and van der Maaten, 2020)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .distributed import all_reduce_mean
from .standardize import EXCLUDED, check_embeddings, check_temperature, full_precision, unit_rows


def pirl_terms(
    z_image: Tensor,
    z_transformed: Tensor,
    memory: Tensor,
    negatives: Tensor,
    *,
    excluded: Tensor | None = None,
    temperature: float = 0.07,
) -> tuple[Tensor, Tensor, Tensor]:
    """The two unweighted losses of PIRL, L_NCE(m_I, g(v_It)) and L_NCE(m_I, f(v_I)) (Sec. 2.2).

    Args:
        z_image: f(v_I), (N, D) embeddings of the images.
        z_transformed: g(v_It), (N, D) embeddings of their transformed versions.
        memory: m_I, (N, D) memory-bank entries of the same images.
        negatives: (K, D) memory-bank entries of other images.
        excluded: (N, K) bool, True where a negative is the image itself.
        temperature: τ, > 0.

    Returns:
        The loss of the transformed images, the loss of the images, and, without gradient, the share of
        transformed images most similar to their own entry; averaged over the processes.

    Raises:
        ValueError: if shapes do not match or τ <= 0.
    """
    check_embeddings(z_image, z_transformed, memory)
    (transformed, positive_top1), (image, _) = (
        nce_terms(z, memory, negatives, excluded=excluded, temperature=temperature)
        for z in (z_transformed, z_image)
    )
    return transformed, image, positive_top1


def nce_terms(
    queries: Tensor,
    positives: Tensor,
    negatives: Tensor,
    *,
    excluded: Tensor | None = None,
    temperature: float = 0.07,
) -> tuple[Tensor, Tensor]:
    """Noise-contrastive loss of PIRL (Sec. 2.2): -log h(positive) - Σ over negatives of log(1 - h(negative)).

    h is the softmax of cosine similarity / temperature over a query's positive and all its negatives.

    Args:
        queries: (N, D) embeddings.
        positives: (N, D) memory-bank entries of the queries' images.
        negatives: (K, D) memory-bank entries shared by all queries.
        excluded: (N, K) bool, True where a negative is the query's own image.
        temperature: τ, > 0.

    Returns:
        The loss and, without gradient, the share of queries most similar to their positive; both averaged
        over the processes.

    Raises:
        ValueError: if shapes do not match or τ <= 0.

    >>> z = torch.eye(3)
    >>> [round(term.item(), 4) for term in nce_terms(z[:1], z[:1], z[1:], temperature=0.1)]
    [0.0002, 1.0]
    """
    check_embeddings(queries, positives)
    if negatives.ndim != 2 or negatives.shape[1] != queries.shape[1] or not len(negatives):
        raise ValueError(
            f"negatives must be (K, {queries.shape[1]}) with K >= 1, got {tuple(negatives.shape)}"
        )
    if excluded is not None and excluded.shape != (len(queries), len(negatives)):
        raise ValueError(f"excluded must be ({len(queries)}, {len(negatives)}), got {tuple(excluded.shape)}")
    check_temperature(temperature)
    with full_precision(queries):
        queries, positives, negatives = map(unit_rows, (queries, positives, negatives))
        own = (queries * positives).sum(1, keepdim=True) / temperature
        others = queries @ negatives.T / temperature
        if excluded is not None:
            others = others.masked_fill(excluded, EXCLUDED)
        logits = torch.cat([own, others], 1)
        log_h = F.log_softmax(logits, dim=1)
        loss = (_log_complement(logits, log_h)[:, 1:].sum(1) + log_h[:, 0]).mean().neg()
        top1 = (logits.argmax(1) == 0).to(loss.dtype).mean()
        loss, top1 = all_reduce_mean(torch.stack([loss, top1])).unbind()
    return loss, top1.detach()


def _log_complement(logits: Tensor, log_h: Tensor) -> Tensor:
    """log(1 - h) of each entry, accurate for h near 1."""
    # Only the largest h of a row can exceed 1/2; its complement is the sum of the others.
    largest = logits.argmax(1, keepdim=True)
    rest = log_h.scatter(1, largest, EXCLUDED)
    return torch.log1p(-rest.exp()).scatter(1, largest, rest.logsumexp(1, keepdim=True))
