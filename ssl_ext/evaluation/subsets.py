"""Seeded subsets of labelled rows: label budgets, and held-out validation rows.

All functions take ``groups``, the group (patient, lesion, slide) of each row. With groups, whole groups are
drawn, and numbers and fractions count groups instead of rows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from .tasks import labelled_rows

Strata = list[tuple[int, np.ndarray]]


class _Units:
    """Sampling units: labelled rows, or groups with a labelled row."""

    def __init__(self, labels: Tensor, groups: np.ndarray | None) -> None:
        self.y, self.known = labels.cpu().numpy(), labelled_rows(labels).cpu().numpy()
        if groups is None:
            self.of_row = np.arange(len(self.y))
        elif len(groups) != len(self.y):
            raise ValueError(f"{len(groups)} groups were given for {len(self.y)} labels")
        else:
            self.of_row = np.unique(groups, return_inverse=True)[1]

    @property
    def all(self) -> Strata:
        """Return all units as one stratum."""
        return [(0, np.unique(self.of_row[self.known]))]

    @property
    def with_class(self) -> Strata:
        """Return for each class the units with a row of it (multi-label: with a positive row)."""
        if self.y.ndim == 2:
            masks = [self.known & (self.y[:, c] == 1) for c in range(self.y.shape[1])]
            return [(c, np.unique(self.of_row[mask])) for c, mask in enumerate(masks)]
        return [
            (c, np.unique(units)) for c, units in _sorted_out(self.y[self.known], self.of_row[self.known])
        ]

    @property
    def by_class(self) -> Strata:
        """Stratify units by their least frequent class; multi-label data has one stratum."""
        if self.y.ndim == 2:
            return self.all
        classes, place, counts = np.unique(self.y[self.known], return_inverse=True, return_counts=True)
        # With rows sorted by class size, the first row of a unit has its least frequent class.
        order = np.lexsort((place, counts[place]))
        units, first = np.unique(self.of_row[self.known][order], return_index=True)
        return _sorted_out(classes[place[order[first]]], units)

    def draw(self, strata: Strata, count: Callable[[int], int], seed: int) -> Tensor:
        """Draw ``count(size)`` random units of each stratum; return their labelled rows, sorted.

        Raises:
            ValueError: No row is labelled.
        """
        self.check()
        chosen = [
            np.random.default_rng([seed, index]).permutation(units)[: count(len(units))]
            for index, units in strata
        ]
        return self.rows(np.concatenate(chosen))

    def check(self) -> None:
        """Raise ValueError if no row is labelled."""
        if not self.known.any():
            raise ValueError("there is no labelled row: all labels are negative")

    def rows(self, units: np.ndarray) -> Tensor:
        """Return the labelled rows of units, sorted."""
        return torch.from_numpy(np.flatnonzero(self.known & np.isin(self.of_row, units)))


def _sorted_out(classes: np.ndarray, values: np.ndarray) -> Strata:
    """Group values by class; the order within a class is kept."""
    found, counts = np.unique(classes, return_counts=True)
    parts = np.split(values[np.argsort(classes, kind="stable")], np.cumsum(counts)[:-1])
    return [(int(index), part) for index, part in zip(found, parts, strict=False)]


def labels_per_class_subset(labels: Tensor, n: int, *, seed: int, groups: np.ndarray | None = None) -> Tensor:
    """Sorted indices of ``n`` random labelled rows per class, or all rows of a class with fewer.

    Deterministic in labels, ``n`` and seed; for one seed, a larger ``n`` gives a superset.
    :func:`short_classes` lists the classes with fewer rows. Multi-label (N, L) labels: n positive rows
    per label, without duplicates. Raises ValueError if n < 1 or no row is labelled.

    >>> labels_per_class_subset(torch.tensor([0, 0, -1, 1]), 2, seed=0).tolist()
    [0, 1, 3]
    """
    if n < 1:
        raise ValueError(f"labels_per_class={n}: at least 1 is needed")
    units = _Units(labels, groups)
    return units.draw(units.with_class, lambda count: n, seed)


def short_classes(labels: Tensor, n: int, *, groups: np.ndarray | None = None) -> dict[int, int]:
    """Return {class: number of labelled rows} for the classes with fewer than ``n``.

    >>> short_classes(torch.tensor([0, 0, -1, 1]), 2)
    {1: 1}
    """
    return {index: len(units) for index, units in _Units(labels, groups).with_class if len(units) < n}


def random_subset(labels: Tensor, n: int, *, seed: int, groups: np.ndarray | None = None) -> Tensor:
    """Sorted indices of ``n`` random labelled rows in proportion to the classes; all rows if there are fewer.

    Every class gets one row before any class gets a second. A group counts for its least frequent class.
    Multi-label (N, L) rows are drawn regardless of their labels. Deterministic in labels, ``n`` and seed; for
    one seed, a larger ``n`` gives a superset. Raises ValueError if n < 1 or no row is labelled.

    >>> random_subset(torch.tensor([0, 0, -1, 1]), 9, seed=0).tolist()
    [0, 1, 3]
    >>> random_subset(torch.tensor([0, 0, 1, 1]), 1, seed=0, groups=np.array(["a", "b", "b", "a"])).tolist()
    [0, 3]
    """
    if n < 1:
        raise ValueError(f"budgets={n}: at least 1 is needed")
    units = _Units(labels, groups)
    units.check()
    members, places = [], []
    for index, stratum in units.by_class:
        members.append(np.random.default_rng([seed, index]).permutation(stratum))
        # Quantile of each unit in its class; 0 for the first, so that every class comes early.
        order = np.arange(len(stratum))
        places.append((order + 0.5) / max(1, len(stratum)) * (order > 0))
    place = np.concatenate(places)
    first = np.lexsort((np.random.default_rng(seed).permutation(len(place)), place))[:n]
    return units.rows(np.concatenate(members)[first])


def fraction_subset(
    labels: Tensor, fraction: float, *, seed: int, groups: np.ndarray | None = None
) -> Tensor:
    """Sorted indices of a random fraction of each class's labelled rows, at least one per class.

    A group counts for its least frequent class. Multi-label (N, L) rows are drawn regardless of their
    labels. Deterministic in labels, fraction and seed; for one seed, a larger fraction gives a superset.
    Raises ValueError if the fraction is not in (0, 1] or no row is labelled.

    >>> fraction_subset(torch.tensor([0, 0, -1, 1]), 1.0, seed=0).tolist()
    [0, 1, 3]
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fractions={fraction}: above 0, up to 1 (all labels) is needed")
    units = _Units(labels, groups)
    return units.draw(units.by_class, lambda count: max(1, round(fraction * count)), seed)


def hold_out(
    labels: Tensor,
    *,
    seed: int,
    fraction: float = 0.1,
    maximum: int = 5000,
    groups: np.ndarray | None = None,
) -> tuple[Tensor, Tensor]:
    """Split the labelled rows into sorted indices of (training rows, held-out rows).

    Holds out ``fraction`` of each class, at least one row of each class with two or more, and at most
    about ``maximum`` rows in total; multi-label rows are drawn regardless of their labels. A group is never
    split, and counts for its least frequent class. Raises ValueError if ``fraction`` is not in (0, 1) or
    nothing can be held out.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction={fraction}: a number between 0 and 1 is needed")
    units = _Units(labels, groups)
    share = min(fraction, maximum / max(1, int(units.known.sum())))
    strata = [(index, members) for index, members in units.by_class if len(members) > 1]
    if not strata:
        unit = "rows" if groups is None else "groups"
        raise ValueError(f"nothing can be held out: no class has two labelled {unit}")
    held = units.draw(strata, lambda count: max(1, int(share * count)), seed)
    return torch.from_numpy(np.setdiff1d(np.flatnonzero(units.known), held)), held
