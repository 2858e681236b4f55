"""Training and validation rows of linear probes, and the probes that are trained together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .balance import Weighting, row_weights, settings_of
from .linear_fit import Problems
from .tasks import labelled_rows

TOGETHER = {"cuda": 1 << 28, "cpu": 1 << 23}
"""Maximum number of feature values of probes that are fitted together: one gigabyte of float32 on a GPU; on
the CPU larger groups are not faster than single probes."""


@dataclass(frozen=True)
class ProbeData:
    """Arguments of :func:`linear_probe` that differ between probes with one recipe."""

    features: Tensor
    labels: Tensor
    val_features: Tensor | None = None
    val_labels: Tensor | None = None
    seed: int = 0
    keep_epoch: int | None = None


@dataclass(frozen=True)
class ProbeRows:
    """Labelled training rows and validation rows of a probe."""

    data: ProbeData
    x: Tensor
    y: Tensor
    mean: Tensor
    std: Tensor
    table: Tensor | None
    chances: Tensor | None
    val_x: Tensor | None = None
    val_y: Tensor | None = None
    val_weights: Tensor | None = None

    @property
    def weights(self) -> Tensor | None:
        """Weights of the loss, shaped as ``y``; None for equal ones."""
        return None if self.table is None else row_weights(self.y, self.table)

    @property
    def settings(self) -> dict[str, Any]:
        """Class weights, for result rows."""
        return settings_of(self.table)

    @classmethod
    def of(cls, data: ProbeData, standardize: bool, weighting: Weighting, *, exact: bool) -> ProbeRows:
        """Select the labelled rows; in float64 if ``exact``."""
        known = labelled_rows(data.labels)
        if not bool(known.any()):
            raise ValueError("no training row is labelled: a linear probe needs labels")
        x, y = data.features, data.labels.to(data.features.device)
        if not bool(known.all()):
            x, y = x[known.to(x.device)], y[known.to(x.device)]
        x = x.double() if exact else x
        mean, std = x.new_zeros(x.shape[1]), x.new_ones(x.shape[1])
        if standardize:
            mean, std = x.mean(dim=0), x.std(dim=0, unbiased=False)
            std = torch.where(std > 0, std, 1)
            x = (x - mean) / std
        drawn = weighting.table(y, exact=exact), weighting.chances(y)
        if data.val_features is None or data.val_labels is None:
            return cls(data, x, y, mean, std, *drawn)
        val_x, val_y = data.val_features.to(x), data.val_labels.to(x.device)
        val_x = (val_x - mean) / std if standardize else val_x
        return cls(data, x, y, mean, std, *drawn, val_x, val_y, weighting.val(val_y))


def together(rows: Sequence[ProbeRows], solver: str) -> list[list[int]]:
    """Indices of probes that are trained together: equal shapes, within the memory limit."""
    groups: dict[tuple, list[list[int]]] = {}
    for i, one in enumerate(rows):
        shapes = [None if part is None else part.shape for part in (one.x, one.y, one.val_x, one.val_y)]
        alike = groups.setdefault((*shapes, one.x.dtype, one.x.device), [[]])
        if len(alike[-1]) == most_together(one.x.numel(), one.x.device, solver):
            alike.append([])
        alike[-1].append(i)
    return [group for alike in groups.values() for group in alike]


def most_together(numbers: int, device: torch.device, solver: str = "sgd") -> int:
    """Number of probes fitted together, at least 1, if each has ``numbers`` feature values."""
    alone = solver == "lbfgs" and device.type == "cpu"
    return 1 if alone else max(1, TOGETHER.get(device.type, TOGETHER["cpu"]) // numbers)


def problems(rows: Sequence[ProbeRows]) -> Problems:
    """The rows of several probes of one shape as a batched problem."""
    features, labels, weights = _stacked([(one.x, one.y, one.weights) for one in rows])
    val = _stacked([(one.val_x, one.val_y, one.val_weights) for one in rows])
    assert features is not None and labels is not None
    return Problems(
        features, labels, [one.data.seed for one in rows], val[0], val[1],
        keep_epochs=[one.data.keep_epoch or 0 for one in rows], weights=weights, val_weights=val[2],
        chances=[one.chances for one in rows],
    )  # fmt: skip


def _stacked(parts: Sequence[tuple[Tensor | None, ...]]) -> list[Tensor | None]:
    """Stack features, labels and weights to (S, …), or (1, …) if all problems share features and labels."""
    x, y, _ = parts[0]
    shared = all(one[0] is x and one[1] is y for one in parts)
    return [
        None if one is None else torch.stack([one] if shared else [part[i] for part in parts])  # type: ignore[misc]
        for i, one in enumerate(parts[0])
    ]
