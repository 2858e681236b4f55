"""Linear probes: a softmax (or sigmoid) layer on frozen features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ssl_ext.values import is_number

from .balance import Balance, Weighting
from .linear_fit import fit_layers
from .linear_head import LinearHead
from .linear_rows import ProbeData, ProbeRows, problems, together
from .logistic_regression import fit_logistic_regressions
from .recipe import OPTIMIZERS, Recipe

SOLVERS = (*OPTIMIZERS, "lbfgs")


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
    balance: Balance | None = None,
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
        balance: Class weights or sampling for unequal classes; ``lbfgs`` takes weights for both.

    Raises:
        ValueError: A setting out of range, no labelled row, or a list of ``l2`` without validation data.
    """
    data = ProbeData(train_features, train_labels, val_features, val_labels, seed, keep_epoch)
    (probe,) = linear_probes(
        [data], num_classes=num_classes, task=task, solver=solver, epochs=epochs, batch_size=batch_size,
        lr=lr, weight_decay=weight_decay, momentum=momentum, schedule=schedule, milestones=milestones,
        l2=l2, standardize=standardize, balance=balance,
    )  # fmt: skip
    return probe


def linear_probes(
    data: Sequence[ProbeData],
    *,
    num_classes: int,
    task: str = "multi-class",
    balance: Balance | None = None,
    **settings: Any,
) -> list[LinearProbe]:
    """Fit probes of several seeds, label subsets or networks with one recipe.

    Results and errors are those of :func:`linear_probe` for each. Probes with the same number of rows are
    fitted together (``lbfgs`` on a GPU only), which takes a GPU little longer than a single probe.
    ``settings`` are those of :func:`linear_probe` from ``solver`` to ``standardize``.
    """
    recipe, strengths = check_probe(**settings)
    standardize = recipe is None if settings.get("standardize") is None else settings["standardize"]
    about = {"solver": settings.get("solver", "sgd"), "standardize": standardize}
    weighting = Weighting(balance, num_classes, task)
    rows = [ProbeRows.of(one, standardize, weighting, exact=recipe is None) for one in data]
    if recipe is None and len(strengths) > 1 and any(one.val_y is None for one in rows):
        raise ValueError(f"evaluation.linear.l2={strengths}: a choice needs validation data")
    probes: dict[int, LinearProbe] = {}
    for group in together(rows, about["solver"]):
        own = [rows[i] for i in group]
        if recipe is None:
            heads = fit_logistic_regressions(
                [one.x for one in own], [one.y for one in own],
                num_classes=num_classes, task=task, strengths=strengths,
                weights=[one.weights for one in own],
            )  # fmt: skip
            for i, one, fitted in zip(group, own, heads, strict=True):
                probes[i] = _chosen(one, fitted, {**about, **one.settings}, weighting)
            continue
        layers = fit_layers(problems(own), num_classes=num_classes, task=task, recipe=recipe)
        for i, one in enumerate(own):
            last = LinearHead(layers.weight[i], layers.bias[i], task).unstandardized(one.mean, one.std)
            best = LinearHead(layers.best_weight[i], layers.best_bias[i], task)
            chosen: dict[str, Any] = {"best_epoch": layers.epochs[i]}
            if one.val_y is not None:
                chosen["validation_accuracy"] = layers.right[i] / one.val_y.numel()
            seeded = {**about, **one.settings, **recipe.settings, "seed": one.data.seed}
            seeded["last_epoch_fall"] = layers.fall[i]
            probes[group[i]] = LinearProbe(last, best.unstandardized(one.mean, one.std), seeded, chosen)
    return [probes[i] for i in range(len(rows))]


def _chosen(
    rows: ProbeRows, fitted: dict[float, LinearHead], about: dict[str, Any], weighting: Weighting
) -> LinearProbe:
    """Select the strength of best validation accuracy; among equal ones the largest."""
    rates: dict[float, float] = {}
    if rows.val_x is not None and rows.val_y is not None:
        rates = {s: weighting.accuracy(head.scores(rows.val_x), rows.val_y) for s, head in fitted.items()}
    strength = max(fitted, key=lambda s: (rates.get(s, 0.0), s))
    head = fitted[strength].unstandardized(rows.mean, rows.std)
    chosen = {"l2": strength, "validation_accuracy": rates}
    return LinearProbe(head, head, {**about, "l2": strength}, chosen)
