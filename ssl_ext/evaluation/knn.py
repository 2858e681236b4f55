"""Weighted k-nearest-neighbour classification on frozen features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_ext.values import is_count, is_number

from .metrics import accuracy
from .tasks import labelled_rows

WEIGHTS = ("exp", "uniform")


def _unit(features: Tensor) -> Tensor:
    if features.ndim != 2:
        raise ValueError(f"features of shape {tuple(features.shape)}: (N, D) is needed")
    return F.normalize(features if features.dtype == torch.float64 else features.float(), dim=1)


def _labelled_bank(bank: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    if len(bank) != len(labels):
        raise ValueError(f"{len(labels)} labels for a bank of {len(bank)} features")
    known = labelled_rows(labels)
    if not bool(known.any()):
        raise ValueError("the kNN bank is empty: it has no labelled row")
    if not bool(known.all()):
        bank, labels = bank[known.to(bank.device)], labels[known]
    return _unit(bank), labels.to(bank.device)


def _neighbours(
    queries: Tensor, bank: Tensor, k: int, chunk_size: int, own: Tensor | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield cosine similarities and rows of the k nearest neighbours per chunk of queries, nearest first.

    ``own`` (Q,) is the bank row of each query itself, which is no neighbour; negative: not in the bank.
    """
    columns = bank.T
    for start, chunk in zip(range(0, len(queries), chunk_size), queries.split(chunk_size), strict=True):
        similarity = _unit(chunk).to(bank) @ columns
        if own is not None:
            itself = own[start : start + chunk_size].to(bank.device)
            inside = (itself >= 0).nonzero()[:, 0]
            similarity[inside, itself[inside]] = -torch.inf
        yield torch.topk(similarity, k, dim=1)


@torch.no_grad()
def nearest_neighbours(features: Tensor, k: int, *, chunk_size: int = 512) -> tuple[Tensor, Tensor]:
    """Cosine similarities and rows (N, k) of the nearest other rows of (N, D) features, nearest first.

    ``k`` is clipped to N − 1.

    >>> nearest_neighbours(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), 1)[1].tolist()
    [[1], [0], [1]]
    """
    rows = torch.arange(len(features))
    found = _neighbours(features, _unit(features), min(k, len(features) - 1), chunk_size, own=rows)
    similarity, neighbours = (torch.cat(parts) for parts in zip(*found, strict=True))
    return similarity, neighbours


def _vote(similarity: Tensor, labels: Tensor, num_classes: int, temperature: float, weights: str) -> Tensor:
    """Normalised votes (Q, num_classes) from similarities (Q, k) and the neighbours' labels."""
    if weights == "exp":
        # softmax subtracts the maximum, so small temperatures do not overflow.
        weight = torch.softmax(similarity / temperature, dim=1)
    else:
        weight = torch.full_like(similarity, 1 / similarity.shape[1])
    if labels.ndim == 3:
        return torch.einsum("qk,qkl->ql", weight, labels.to(weight))
    return weight.new_zeros(len(weight), num_classes).scatter_add_(1, labels, weight)


def check_knn(*, k: int | Sequence[int] = 200, temperature: float = 0.1, weights: str = "exp") -> None:
    """Raise ValueError unless the kNN settings are in range; ``k`` may be a list of candidates."""
    ks = list(k) if isinstance(k, Sequence) else [k]
    if not ks:
        raise ValueError("evaluation.knn.k is an empty list: at least one k is needed")
    if not all(is_count(value) for value in ks):
        raise ValueError(f"evaluation.knn.k={k}: at least 1 is needed")
    if not is_number(temperature) or temperature <= 0:
        raise ValueError(f"evaluation.knn.temperature={temperature}: must be greater than 0")
    if weights not in WEIGHTS:
        raise ValueError(f"evaluation.knn.weights={weights!r}: allowed are {', '.join(WEIGHTS)}")


@torch.no_grad()
def knn_classify(
    queries: Tensor,
    bank: Tensor,
    labels: Tensor,
    *,
    num_classes: int,
    k: int = 200,
    temperature: float = 0.1,
    weights: str = "exp",
    chunk_size: int = 512,
    own: Tensor | None = None,
) -> Tensor:
    """Weighted kNN class scores (Q, num_classes) in [0, 1], on the queries' device.

    The ``k`` bank rows of largest cosine similarity s (at most the bank's size) vote with weights
    exp(s / temperature), or equally with ``weights='uniform'`` (Wu et al., "Instance Discrimination",
    2018, Section 3.4). Rows sum to 1 unless ``labels`` are multi-label.

    Args:
        queries: Features (Q, D).
        bank: Features (N, D); unlabelled rows (negative labels) are ignored.
        labels: int64 (N,), or 0/1 (N, num_classes) for multi-label data.
        num_classes: Number of columns of the result.
        k: Number of neighbours.
        temperature: Temperature of the exponential weights, > 0.
        weights: ``'exp'`` or ``'uniform'``.
        chunk_size: Queries per matrix product; a chunk holds chunk_size × N similarities.
        own: For queries that are rows of a labelled bank, their rows (Q,), which do not vote for themselves;
            negative for other queries.

    Raises:
        ValueError: A setting is out of range, or the bank has no labelled row.

    >>> bank, labels = torch.eye(2), torch.tensor([0, 1])
    >>> knn_classify(torch.tensor([[2.0, 0.1]]), bank, labels, num_classes=2, k=1).tolist()
    [[1.0, 0.0]]
    """
    check_knn(k=k, temperature=temperature, weights=weights)
    bank, labels = _labelled_bank(bank, labels)
    k = min(k, len(bank) - (own is not None))
    votes = [
        _vote(similarity, labels[rows], num_classes, temperature, weights)
        for similarity, rows in _neighbours(queries, bank, k, chunk_size, own)
    ]
    return torch.cat(votes).to(queries.device)


@torch.no_grad()
def choose_k(
    queries: Tensor,
    query_labels: Tensor,
    bank: Tensor,
    labels: Tensor,
    *,
    num_classes: int,
    ks: Sequence[int],
    task: str = "multi-class",
    temperature: float = 0.1,
    weights: str = "exp",
    chunk_size: int = 512,
) -> tuple[int, dict[int, float]]:
    """Return the k of ``ks`` with the highest accuracy on labelled queries, and the accuracy of each k.

    Neighbours are searched once, for the largest k. The smaller k wins ties. ``queries`` are validation
    features; see :func:`knn_classify` for the other arguments and errors.
    """
    check_knn(k=ks, temperature=temperature, weights=weights)
    bank, labels = _labelled_bank(bank, labels)
    found = _neighbours(queries, bank, min(max(ks), len(bank)), chunk_size)
    similarity, rows = (torch.cat(parts) for parts in zip(*found, strict=True))
    neighbour_labels = labels[rows]
    accuracies = {}
    for k in sorted(set(ks)):
        votes = _vote(similarity[:, :k], neighbour_labels[:, :k], num_classes, temperature, weights)
        accuracies[k] = accuracy(votes, query_labels, task)
    return max(accuracies, key=lambda k: accuracies[k]), accuracies
