"""Linear classifiers on frozen features: a softmax (or sigmoid) layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_ext.values import is_number

from .fitting import Batch, Source, fit
from .linear_head import LinearHead
from .logistic_regression import fit_logistic_regression
from .metrics import accuracy
from .recipe import OPTIMIZERS, Recipe
from .tasks import classification_loss, labelled_rows, num_outputs

SOLVERS = (*OPTIMIZERS, "lbfgs")


@dataclass(frozen=True)
class LinearProbe:
    """A fitted probe: the head of the last epoch, the one best on validation, and how they came.

    ``chosen`` holds what validation decided (``best_epoch`` or ``l2``) with its accuracies.
    """

    last: LinearHead
    best: LinearHead
    settings: dict[str, Any]
    chosen: dict[str, Any] = field(default_factory=dict)


def initial_layer(width: int, outputs: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Weight (outputs, width) uniform in ±1/√width and a bias of zeros."""
    weight = torch.empty(outputs, width)
    torch.nn.init.uniform_(weight, -(width**-0.5), width**-0.5, generator=generator)
    return weight, torch.zeros(outputs)


def check_probe(
    *,
    solver: str = "sgd",
    l2: float | Sequence[float] = 1e-4,
    standardize: bool | None = None,
    key: str = "evaluation.linear",
    **settings: Any,
) -> tuple[Recipe | None, list[float]]:
    """The training recipe (None for ``lbfgs``) and the strengths ``l2`` of a linear probe's settings.

    The arguments are those of :func:`linear_probe`. Raises ValueError when one is out of range.
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


def train_head(
    source: Source,
    *,
    count: int,
    width: int,
    num_classes: int,
    task: str,
    recipe: Recipe,
    seed: int,
    device: torch.device | str,
    dtype: torch.dtype = torch.float32,
    rate: Callable[[LinearHead], float] | None = None,
    keep_epoch: int | None = None,
) -> LinearProbe:
    """Train a linear layer on batches of features (B, width) and labels that ``source`` gives.

    ``best`` is the head of highest ``rate`` (the first of equal ones), looked at when the recipe
    says; without ``rate`` the head after ``keep_epoch``, or the last one.
    """
    generator = torch.Generator().manual_seed(seed)
    start = initial_layer(width, num_outputs(num_classes, task), generator)
    weight, bias = (value.to(device, dtype).requires_grad_() for value in start)
    kept: dict[str, Any] = {"best": None, "epoch": recipe.epochs, "accuracy": -1.0}

    def loss(features: Tensor, labels: Tensor) -> Tensor:
        return classification_loss(F.linear(features, weight, bias), labels, task)

    def head() -> LinearHead:
        return LinearHead(weight.detach().clone(), bias.detach().clone(), task)

    def watch(step: int, epoch: int) -> None:
        if rate is not None:
            current = head()
            if (value := rate(current)) > kept["accuracy"]:
                kept.update(best=current, epoch=epoch, accuracy=value)
        elif epoch == keep_epoch:
            kept.update(best=head(), epoch=epoch)

    fit([weight, bias], source, loss, count=count, recipe=recipe, generator=generator, watch=watch)
    last = head()
    chosen = {"best_epoch": kept["epoch"]}
    if rate is not None:
        chosen["validation_accuracy"] = kept["accuracy"]
    return LinearProbe(last, kept["best"] or last, {**recipe.settings, "seed": seed}, chosen)


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
    """Fit a linear classifier on features (N, D); rows with a negative label are left out.

    ``sgd``, ``adam`` and ``adamw`` train a layer on shuffled batches and report the last epoch and the
    one of best validation accuracy. ``lbfgs`` is scikit-learn's converged logistic regression, which
    minimises mean cross-entropy + l2/2 ‖weight‖² (one-vs-rest for several or two labels).

    Args:
        train_features: (N, D), on the device to compute on.
        train_labels: int64 (N,), or 0/1 (N, L) for ``multi-label``.
        num_classes: Number of classes, or of labels.
        task: ``'multi-class'``, ``'ordinal'``, ``'binary'`` or ``'multi-label'``.
        val_features: Validation features for the choice of epoch or ``l2``.
        val_labels: Their labels.
        solver: ``'sgd'``, ``'adam'``, ``'adamw'`` or ``'lbfgs'``.
        epochs: Passes over the features; this and the settings up to ``milestones`` are those of
            :class:`ssl_ext.evaluation.recipe.Recipe` and do not count for ``lbfgs``.
        batch_size: Rows per step.
        lr: Learning rate.
        weight_decay: Of weight and bias.
        momentum: Of ``sgd``.
        schedule: ``'constant'`` or ``'cosine'``.
        milestones: Where ``lr`` falls to a tenth: epochs, or shares of the training.
        l2: Strength, or a list to choose from on validation (``lbfgs`` only).
        standardize: Use (x − mean) / std of the training rows; default for ``lbfgs`` only.
        keep_epoch: With no validation data: the epoch whose head is ``best``.
        seed: Of the layer's start and the order of the rows.

    Raises:
        ValueError: A setting out of range, nothing labelled, a list of ``l2`` without validation data.
    """
    recipe, strengths = check_probe(
        solver=solver, l2=l2, standardize=standardize, epochs=epochs, batch_size=batch_size, lr=lr,
        weight_decay=weight_decay, momentum=momentum, schedule=schedule, milestones=milestones,
    )  # fmt: skip
    known = labelled_rows(train_labels)
    if not bool(known.any()):
        raise ValueError("no training row is labelled: a linear probe needs labels")
    x, y = train_features, train_labels.to(train_features.device)
    if not bool(known.all()):
        x, y = x[known.to(x.device)], y[known.to(x.device)]
    standardize = solver == "lbfgs" if standardize is None else standardize
    mean, std = x.new_zeros(x.shape[1]), x.new_ones(x.shape[1])
    if standardize:
        mean, std = x.mean(dim=0), x.std(dim=0, unbiased=False)
        std = torch.where(std > 0, std, 1)
        x = (x - mean) / std
    about = {"solver": solver, "standardize": standardize}

    def rate(head: LinearHead) -> float:
        assert val_features is not None and val_labels is not None
        return accuracy(head.unstandardized(mean, std).scores(val_features), val_labels, task)

    watched = None if val_features is None or val_labels is None else rate
    if recipe is None:
        if len(strengths) > 1 and watched is None:
            raise ValueError(f"evaluation.linear.l2={l2}: a choice needs validation data")
        heads = {
            s: fit_logistic_regression(x, y, num_classes=num_classes, task=task, l2=s) for s in strengths
        }
        rates = {} if watched is None else {s: watched(head) for s, head in heads.items()}
        # Of equal accuracies the stronger regularisation wins.
        strength = max(strengths, key=lambda s: (rates.get(s, 0.0), s))
        raw = heads[strength].unstandardized(mean, std)
        return LinearProbe(
            raw, raw, {**about, "l2": strength}, {"l2": strength, "validation_accuracy": rates}
        )

    def source(order: Tensor, size: int) -> Iterator[Batch]:
        for rows in order.to(x.device).split(size):
            yield x.index_select(0, rows), y.index_select(0, rows)

    probe = train_head(
        source, count=len(x), width=x.shape[1], num_classes=num_classes, task=task, recipe=recipe,
        seed=seed, device=x.device, dtype=x.dtype, rate=watched, keep_epoch=keep_epoch,
    )  # fmt: skip
    last, best = (head.unstandardized(mean, std) for head in (probe.last, probe.best))
    return LinearProbe(last, best, {**about, **probe.settings}, probe.chosen)
