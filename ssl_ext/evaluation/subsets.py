"""Seeded subsets of labelled rows: label budgets, and held-out validation rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from .tasks import labelled_rows


def _rows_per_class(labels: Tensor) -> list[tuple[int, np.ndarray]]:
    """Labelled rows of each class that occurs."""
    y, known = labels.cpu().numpy(), labelled_rows(labels).cpu().numpy()
    if y.ndim == 2:
        return [(c, np.flatnonzero(known & (y[:, c] == 1))) for c in range(y.shape[1])]
    return [(int(c), np.flatnonzero(y == c)) for c in np.unique(y[known])]


def labels_per_class_subset(labels: Tensor, n: int, *, seed: int) -> Tensor:
    """Sorted indices of ``n`` random labelled rows per class, or all rows of a class with fewer.

    Deterministic in labels, ``n`` and seed; for one seed, a larger ``n`` gives a superset.
    :func:`short_classes` lists the classes with fewer rows. Multi-label (N, L) labels: n positive rows
    per label, without duplicates. Raises ValueError if n < 1 or no row is labelled.

    >>> labels_per_class_subset(torch.tensor([0, 0, -1, 1]), 2, seed=0).tolist()
    [0, 1, 3]
    """
    if n < 1:
        raise ValueError(f"labels_per_class={n}: at least 1 is needed")
    return _from_each_class(_labelled_classes(labels), lambda count: n, seed)


def short_classes(labels: Tensor, n: int) -> dict[int, int]:
    """Return {class: number of labelled rows} for the classes with fewer than ``n``.

    >>> short_classes(torch.tensor([0, 0, -1, 1]), 2)
    {1: 1}
    """
    return {index: len(rows) for index, rows in _rows_per_class(labels) if len(rows) < n}


def random_subset(labels: Tensor, n: int, *, seed: int) -> Tensor:
    """Sorted indices of ``n`` random labelled rows, of each class its share, or all if there are fewer.

    Every class has a row before another has its second one. Multi-label (N, L) rows are drawn regardless of
    their labels. Deterministic in labels, ``n`` and seed; for one seed, a larger ``n`` gives a superset.
    Raises ValueError if n < 1 or no row is labelled.

    >>> random_subset(torch.tensor([0, 0, -1, 1]), 9, seed=0).tolist()
    [0, 1, 3]
    """
    if n < 1:
        raise ValueError(f"budgets={n}: at least 1 is needed")
    rows, places = [], []
    for index, members in _strata(labels):
        rows.append(np.random.default_rng([seed, index]).permutation(members))
        # The middle of each row's part of its class; 0 for the first.
        places.append((np.arange(len(members)) + 0.5) / len(members) * (np.arange(len(members)) > 0))
    joined, place = np.concatenate(rows), np.concatenate(places)
    order = np.lexsort((np.random.default_rng(seed).permutation(len(place)), place))
    return torch.from_numpy(np.sort(joined[order[:n]]))


def fraction_subset(labels: Tensor, fraction: float, *, seed: int) -> Tensor:
    """Sorted indices of a random fraction of each class's labelled rows, at least one per class.

    Multi-label (N, L) rows are drawn regardless of their labels. Deterministic in labels, fraction and
    seed; for one seed, a larger fraction gives a superset. Raises ValueError if the fraction is not in
    (0, 1] or no row is labelled.

    >>> fraction_subset(torch.tensor([0, 0, -1, 1]), 1.0, seed=0).tolist()
    [0, 1, 3]
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fractions={fraction}: above 0, up to 1 (all labels) is needed")
    return _from_each_class(_strata(labels), lambda count: max(1, round(fraction * count)), seed)


def _strata(labels: Tensor) -> list[tuple[int, np.ndarray]]:
    """Labelled rows by class; multi-label rows in one group."""
    if labels.ndim == 1:
        return _labelled_classes(labels)
    return _some_rows([(0, np.flatnonzero(labelled_rows(labels).cpu().numpy()))])


def _labelled_classes(labels: Tensor) -> list[tuple[int, np.ndarray]]:
    return _some_rows(_rows_per_class(labels))


def _some_rows(groups: list[tuple[int, np.ndarray]]) -> list[tuple[int, np.ndarray]]:
    if not any(len(rows) for _, rows in groups):
        raise ValueError("no labelled row to choose from: every label is negative")
    return groups


def _from_each_class(groups: list[tuple[int, np.ndarray]], count: Callable[[int], int], seed: int) -> Tensor:
    """First ``count(size)`` rows of a seeded permutation of each group, sorted."""
    chosen = [
        np.random.default_rng([seed, index]).permutation(rows)[: count(len(rows))] for index, rows in groups
    ]
    return torch.from_numpy(np.unique(np.concatenate(chosen)))


def hold_out(
    labels: Tensor, *, seed: int, fraction: float = 0.1, maximum: int = 5000
) -> tuple[Tensor, Tensor]:
    """Split the labelled rows into sorted indices of (training rows, held-out rows).

    Holds out ``fraction`` of each class, at least one row of each class with two or more, and at most
    about ``maximum`` rows in total; multi-label rows are drawn regardless of their labels. Raises
    ValueError if ``fraction`` is not in (0, 1) or nothing can be held out.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction={fraction}: a number between 0 and 1 is needed")
    known = labelled_rows(labels).cpu().numpy()
    share = min(fraction, maximum / max(1, int(known.sum())))
    groups = _rows_per_class(labels) if labels.ndim == 1 else [(0, np.flatnonzero(known))]
    held = [
        np.random.default_rng([seed, index]).permutation(rows)[: max(1, int(share * len(rows)))]
        for index, rows in groups
        if len(rows) > 1
    ]
    if not held:
        raise ValueError("nothing can be held out: no class has two labelled rows")
    held_rows = np.sort(np.concatenate(held))
    fit_rows = np.setdiff1d(np.flatnonzero(known), held_rows)
    return torch.from_numpy(fit_rows), torch.from_numpy(held_rows)
