"""Noise-contrastive losses: NT-Xent of SimCLR (Chen et al., 2020), InfoNCE of MoCo (He et al., 2020)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .distributed import all_reduce_mean, gather, rank
from .standardize import at_least_float32, check_embeddings, check_temperature, full_precision, unit_rows


class ContrastiveTerms(NamedTuple):
    """The loss, and the share of queries whose positive is more similar than every negative.

    ``positive_top1`` in [0, 1] has no gradient; ties count as misses, so that a collapsed network scores 0.
    """

    loss: Tensor
    positive_top1: Tensor


def nt_xent(z1: Tensor, z2: Tensor, *, temperature: float = 0.5) -> Tensor:
    """SimCLR's loss (Eq. 1): classify each view's positive among the 2N - 1 others.

    Args:
        z1: (N, D) embeddings of the first view; normalised here.
        z2: (N, D) embeddings of the second view; normalised here.
        temperature: τ > 0.

    Returns:
        Scalar; the negatives come from the batch of all processes.

    Raises:
        ValueError: if the shapes differ, the joined batch holds a single sample, or τ <= 0.

    >>> nt_xent(torch.eye(2), torch.eye(2), temperature=1.0)  # log((e + 2) / e)
    tensor(0.5514)
    """
    return nt_xent_terms(z1, z2, temperature=temperature).loss


def nt_xent_terms(z1: Tensor, z2: Tensor, *, temperature: float = 0.5) -> ContrastiveTerms:
    """``nt_xent`` and its ``positive_top1``; same arguments and errors."""
    check_embeddings(z1, z2)
    with full_precision(z1):
        similarity, positive = view_similarities(unit_rows(z1), unit_rows(z2))
        return contrast(without_self(similarity), positive, temperature)


def info_nce(query: Tensor, key: Tensor, queue: Tensor, *, temperature: float = 0.2) -> Tensor:
    """MoCo's loss (Eq. 1): classify each query's key among that key and the K entries of the queue.

    Args:
        query: (N, D) unit vectors.
        key: (N, D) unit vectors, the positives.
        queue: (K, D) unit vectors, the negatives, the same on every process.
        temperature: τ > 0.

    Returns:
        Scalar, averaged over processes.

    Raises:
        ValueError: if the shapes do not match or τ <= 0.
    """
    return info_nce_terms(query, key, queue, temperature=temperature).loss


def info_nce_terms(
    query: Tensor, key: Tensor, queue: Tensor, *, temperature: float = 0.2
) -> ContrastiveTerms:
    """``info_nce`` and its ``positive_top1``; same arguments and errors."""
    check_embeddings(query, key)
    with full_precision(query):
        return contrast(*queue_similarities(query, key, queue), temperature)


def contrast(similarity: Tensor, positive: Tensor, temperature: float) -> ContrastiveTerms:
    """Cross-entropy of ``similarity / temperature`` (N, M) with target columns ``positive`` (N,).

    Averaged over the rows of all processes; entries of -inf are excluded. Raises ValueError unless τ > 0.
    """
    check_temperature(temperature)
    loss = F.cross_entropy(similarity / temperature, positive)
    with torch.no_grad():
        column = positive[:, None]
        nearest_negative = similarity.scatter(1, column, float("-inf")).amax(1)
        top1 = (similarity.gather(1, column)[:, 0] > nearest_negative).to(loss.dtype).mean()
    loss, top1 = all_reduce_mean(torch.stack([loss, top1])).unbind()
    return ContrastiveTerms(loss, top1.detach())


def view_similarities(u1: Tensor, u2: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines (2N, 2NW) of this process's views with those of all W, and each row's positive column (2N,)."""
    views = torch.cat([u1, u2])
    everyone = gather(views)
    if len(everyone) < 4:
        raise ValueError(
            "a batch of 1 sample has no negatives: the joined batch needs at least 2 samples "
            "(config key train_dataloader.batch_size, with drop_last=True)"
        )
    own = torch.arange(len(views), device=views.device) + rank() * len(views)
    return views @ everyone.T, own.roll(len(u1))


def without_self(similarity: Tensor) -> Tensor:
    """Set each view's similarity to itself in the matrix of ``view_similarities`` to -inf."""
    nothing = similarity.new_full((len(similarity),), float("-inf"))
    return similarity.diagonal_scatter(nothing, rank() * len(similarity))


def queue_similarities(query: Tensor, key: Tensor, queue: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines (N, 1 + K) of each query with its key and the queue, and the key's column, 0, as (N,)."""
    query, key, queue = (at_least_float32(z) for z in (query, key, queue))
    check_embeddings(query, queue=queue)
    own = (query * key).sum(1, keepdim=True)
    column = torch.zeros(len(query), dtype=torch.long, device=query.device)
    return torch.cat([own, query @ queue.T], dim=1), column
