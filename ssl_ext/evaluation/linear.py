"""Linear probes: a softmax (or sigmoid) layer on frozen features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ssl_ext.values import is_number

from .linear_fit import Problems, fit_layers
from .linear_head import LinearHead
from .logistic_regression import fit_logistic_regressions
from .metrics import accuracy
from .recipe import OPTIMIZERS, Recipe
from .tasks import labelled_rows

SOLVERS = (*OPTIMIZERS, "lbfgs")
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
class LinearProbe:
    """A fitted probe: the head of the last epoch and the head of best validation accuracy.

    ``chosen`` holds the selected ``best_epoch`` or ``l2`` with its validation accuracies.
    """

    last: LinearHead
    best: LinearHead
    settings: dict[str, Any]
    chosen: dict[str, Any] = field(default_factory=dict)


def check_probe(
    *,
    solver: str = "sgd",
    l2: float | Sequence[float] = 1e-4,
    standardize: bool | None = None,
    key: str = "evaluation.linear",
    **settings: Any,
) -> tuple[Recipe | None, list[float]]:
    """Check a linear probe's settings; return its recipe (None for ``lbfgs``) and its values of ``l2``.

    The arguments are those of :func:`linear_probe`. Raises ValueError if one is out of range.
    """
    if solver not in SOLVERS:
        raise ValueError(f"{key}.solver={solver!r}: allowed are {', '.join(SOLVERS)}")
    if standardize not in (None, True, False):
        raise ValueError(f"{key}.standardize={standardize!r}: True, False or None is needed")
    strengths = list(l2) if isinstance(l2, Sequence) else [l2]
    if not strengths or not all(is_number(s) and s >= 0 for s in strengths):
        raise ValueError(f"{key}.l2={l2!r}: one or more numbers of at least 0 are needed")
    recipe = Recipe(**{**settings, "optimizer": "sgd" if solver == "lbfgs" else solver, "key": key})
    return None if solver == "lbfgs" else recipe, [float(s) for s in strengths]


def linear_probe(
    train_features: Tensor,
    train_labels: Tensor,
    *,
    num_classes: int,
    task: str = "multi-class",
    val_features: Tensor | None = None,
    val_labels: Tensor | None = None,
    solver: str = "sgd",
    epochs: int = 100,
    batch_size: int = 256,
    lr: float = 1e-3,
    weight_decay: float = 1e-6,
    momentum: float = 0.9,
    schedule: str = "constant",
    milestones: Sequence[float] = (),
    l2: float | Sequence[float] = 1e-4,
    standardize: bool | None = None,
    keep_epoch: int | None = None,
    seed: int = 0,
) -> LinearProbe:
    """Fit a linear classifier on features (N, D); rows with a negative label are ignored.

    ``sgd``, ``adam`` and ``adamw`` train a layer on shuffled batches and return the heads of the last epoch
    and of best validation accuracy. ``lbfgs`` is converged logistic regression in float64, which minimises
    mean cross-entropy + l2/2 ‖weight‖² (one-vs-rest for several or two labels).

    Args:
        train_features: (N, D), on the device to use.
        train_labels: int64 (N,), or 0/1 (N, L) for ``multi-label``.
        num_classes: Number of classes, or of labels.
        task: ``'multi-class'``, ``'ordinal'``, ``'binary'`` or ``'multi-label'``.
        val_features: Validation features for the selection of epoch or ``l2``.
        val_labels: Validation labels.
        solver: ``'sgd'``, ``'adam'``, ``'adamw'`` or ``'lbfgs'``.
        epochs: Number of epochs; this and the settings up to ``milestones`` are those of
            :class:`ssl_ext.evaluation.recipe.Recipe` and are not used by ``lbfgs``.
        batch_size: Rows per step.
        lr: Learning rate.
        weight_decay: Weight decay of weight and bias.
        momentum: Momentum of ``sgd``.
        schedule: ``'constant'`` or ``'cosine'``.
        milestones: Where ``lr`` is divided by 10: epochs, or fractions of the training.
        l2: Regularisation strength, or a list to select from on validation (``lbfgs`` only).
        standardize: Use (x − mean) / std of the training rows; default for ``lbfgs`` only.
        keep_epoch: Without validation data, the epoch whose head is ``best``.
        seed: Seed of the initialisation and the order of the rows.

    Raises:
        ValueError: A setting out of range, no labelled row, or a list of ``l2`` without validation data.
    """
    data = ProbeData(train_features, train_labels, val_features, val_labels, seed, keep_epoch)
    (probe,) = linear_probes(
        [data], num_classes=num_classes, task=task, solver=solver, epochs=epochs, batch_size=batch_size,
        lr=lr, weight_decay=weight_decay, momentum=momentum, schedule=schedule, milestones=milestones,
        l2=l2, standardize=standardize,
    )  # fmt: skip
    return probe


def linear_probes(
    data: Sequence[ProbeData], *, num_classes: int, task: str = "multi-class", **settings: Any
) -> list[LinearProbe]:
    """Fit probes of several seeds, label subsets or networks with one recipe.

    Results and errors are those of :func:`linear_probe` for each. Probes with the same number of rows are
    fitted together (``lbfgs`` on a GPU only), which takes a GPU little longer than a single probe.
    ``settings`` are those of :func:`linear_probe` from ``solver`` to ``standardize``.
    """
    recipe, strengths = check_probe(**settings)
    standardize = recipe is None if settings.get("standardize") is None else settings["standardize"]
    about = {"solver": settings.get("solver", "sgd"), "standardize": standardize}
    rows = [_Rows.of(one, standardize, exact=recipe is None) for one in data]
    if recipe is None and len(strengths) > 1 and any(one.val_y is None for one in rows):
        raise ValueError(f"evaluation.linear.l2={strengths}: a choice needs validation data")
    probes: dict[int, LinearProbe] = {}
    for group in _groups(rows, about["solver"]):
        own = [rows[i] for i in group]
        if recipe is None:
            heads = fit_logistic_regressions(
                [one.x for one in own], [one.y for one in own],
                num_classes=num_classes, task=task, strengths=strengths,
            )  # fmt: skip
            for i, one, fitted in zip(group, own, heads, strict=True):
                probes[i] = _chosen(one, fitted, about)
            continue
        layers = fit_layers(_problems(own), num_classes=num_classes, task=task, recipe=recipe)
        for i, one in enumerate(own):
            last = LinearHead(layers.weight[i], layers.bias[i], task).unstandardized(one.mean, one.std)
            best = LinearHead(layers.best_weight[i], layers.best_bias[i], task)
            chosen: dict[str, Any] = {"best_epoch": layers.epochs[i]}
            if one.val_y is not None:
                chosen["validation_accuracy"] = layers.right[i] / one.val_y.numel()
            seeded = {**about, **recipe.settings, "seed": one.data.seed, "last_epoch_fall": layers.fall[i]}
            probes[group[i]] = LinearProbe(last, best.unstandardized(one.mean, one.std), seeded, chosen)
    return [probes[i] for i in range(len(rows))]


@dataclass(frozen=True)
class _Rows:
    """Labelled training rows and validation rows of a probe."""

    data: ProbeData
    x: Tensor
    y: Tensor
    mean: Tensor
    std: Tensor
    val_x: Tensor | None = None
    val_y: Tensor | None = None

    @classmethod
    def of(cls, data: ProbeData, standardize: bool, *, exact: bool) -> _Rows:
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
        if data.val_features is None or data.val_labels is None:
            return cls(data, x, y, mean, std)
        val_x, val_y = data.val_features.to(x), data.val_labels.to(x.device)
        return cls(data, x, y, mean, std, (val_x - mean) / std if standardize else val_x, val_y)


def _groups(rows: Sequence[_Rows], solver: str) -> list[list[int]]:
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


def _problems(rows: Sequence[_Rows]) -> Problems:
    features, labels = _stacked([(one.x, one.y) for one in rows])
    seeds, keep = [one.data.seed for one in rows], [one.data.keep_epoch or 0 for one in rows]
    val = [(one.val_x, one.val_y) for one in rows if one.val_x is not None and one.val_y is not None]
    if not val:
        return Problems(features, labels, seeds, keep_epochs=keep)
    return Problems(features, labels, seeds, *_stacked(val))


def _stacked(pairs: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Stack features and labels to (S, …), or (1, …) if all problems share them."""
    x, y = zip(*pairs, strict=True)
    if all(one is x[0] for one in x) and all(one is y[0] for one in y):
        return x[0].unsqueeze(0), y[0].unsqueeze(0)
    return torch.stack(x), torch.stack(y)


def _chosen(rows: _Rows, fitted: dict[float, LinearHead], about: dict[str, Any]) -> LinearProbe:
    """Select the strength of best validation accuracy; among equal ones the largest."""
    rates: dict[float, float] = {}
    if rows.val_x is not None and rows.val_y is not None:
        rates = {s: accuracy(head.scores(rows.val_x), rows.val_y, head.task) for s, head in fitted.items()}
    strength = max(fitted, key=lambda s: (rates.get(s, 0.0), s))
    head = fitted[strength].unstandardized(rows.mean, rows.std)
    chosen = {"l2": strength, "validation_accuracy": rates}
    return LinearProbe(head, head, {**about, "l2": strength}, chosen)
