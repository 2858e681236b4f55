"""Linear classifiers on frozen features: a softmax (or sigmoid) layer, no images touched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .linear_head import LinearHead
from .logistic_regression import fit_logistic_regression
from .metrics import accuracy
from .tasks import classification_loss, labelled_rows, num_outputs

SOLVERS = ("sgd", "adamw", "lbfgs")


@dataclass(frozen=True)
class LinearProbe:
    """A fitted probe: the head of the last epoch, the one best on validation, and how they came.

    ``chosen`` holds what validation decided (``best_epoch`` or ``l2``) with its accuracies.
    """

    last: LinearHead
    best: LinearHead
    settings: dict[str, Any]
    chosen: dict[str, Any] = field(default_factory=dict)


def _fit_steps(
    x: Tensor,
    y: Tensor,
    outputs: int,
    task: str,
    watch: Callable[[int, LinearHead], None],
    *,
    solver: str,
    epochs: int,
    batch_size: int,
    lr: float,
    weight_decay: float,
    momentum: float,
    milestones: Sequence[int],
    seed: int,
) -> None:
    """Minibatch training; ``watch(epoch, head)`` sees the layer after every epoch, from 1."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.empty(outputs, x.shape[1])
    torch.nn.init.uniform_(weight, -(x.shape[1] ** -0.5), x.shape[1] ** -0.5, generator=generator)
    weight = weight.to(x).requires_grad_()
    bias = torch.zeros(outputs, device=x.device, dtype=x.dtype, requires_grad=True)
    optimizer: torch.optim.Optimizer
    if solver == "sgd":
        optimizer = torch.optim.SGD([weight, bias], lr, momentum, weight_decay=weight_decay)
    else:
        optimizer = torch.optim.AdamW([weight, bias], lr, weight_decay=weight_decay)
    for epoch in range(1, epochs + 1):
        optimizer.param_groups[0]["lr"] = lr * 0.1 ** sum(epoch > m for m in milestones)
        order = torch.randperm(len(x), generator=generator).to(x.device)
        for rows in order.split(batch_size):
            logits = F.linear(x.index_select(0, rows), weight, bias)
            loss = classification_loss(logits, y.index_select(0, rows), task)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        watch(epoch, LinearHead(weight.detach(), bias.detach(), task))


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
    milestones: Sequence[int] = (),
    l2: float | Sequence[float] = 1e-4,
    standardize: bool | None = None,
    keep_epoch: int | None = None,
    seed: int = 0,
) -> LinearProbe:
    """Fit a linear classifier on features (N, D); rows with a negative label are left out.

    ``sgd`` and ``adamw`` train a layer on shuffled batches and report the last epoch and the one of
    best validation accuracy. ``lbfgs`` is scikit-learn's converged logistic regression, which
    minimises mean cross-entropy + l2/2 ‖weight‖² (one-vs-rest for several or two labels).

    Args:
        train_features: (N, D), on the device to compute on.
        train_labels: int64 (N,), or 0/1 (N, L) for ``multi-label``.
        num_classes: Number of classes, or of labels.
        task: ``'multi-class'``, ``'ordinal'``, ``'binary'`` or ``'multi-label'``.
        val_features: Validation features for the choice of epoch or ``l2``.
        val_labels: Their labels.
        solver: ``'sgd'``, ``'adamw'`` or ``'lbfgs'``.
        epochs: Passes over the features (not ``lbfgs``).
        batch_size: Rows per step (not ``lbfgs``).
        lr: Learning rate (not ``lbfgs``).
        weight_decay: Of weight and bias (not ``lbfgs``).
        momentum: Of ``sgd``.
        milestones: Epochs after which ``lr`` falls to a tenth (not ``lbfgs``).
        l2: Strength, or a list to choose from on validation (``lbfgs`` only).
        standardize: Use (x − mean) / std of the training rows; default for ``lbfgs`` only.
        keep_epoch: With no validation data: the epoch whose head is ``best``.
        seed: Of the layer's start and the order of the rows.

    Raises:
        ValueError: Unknown solver or task, nothing labelled, a list of ``l2`` without validation data.
    """
    if solver not in SOLVERS:
        raise ValueError(f"evaluation.linear.solver={solver!r}: allowed are {', '.join(SOLVERS)}")
    outputs = num_outputs(num_classes, task)
    known = labelled_rows(train_labels)
    if not bool(known.any()):
        raise ValueError("no training row is labelled: a linear probe needs labels")
    x, y = train_features, train_labels.to(train_features.device)
    if not bool(known.all()):
        x, y = x[known.to(x.device)], y[known.to(x.device)]
    validation = None if val_features is None or val_labels is None else (val_features, val_labels)
    standardize = solver == "lbfgs" if standardize is None else standardize
    mean, std = x.new_zeros(x.shape[1]), x.new_ones(x.shape[1])
    if standardize:
        mean, std = x.mean(dim=0), x.std(dim=0, unbiased=False)
        std = torch.where(std > 0, std, 1)
        x = (x - mean) / std
    settings: dict[str, Any] = {"solver": solver, "standardize": standardize}

    def rate(head: LinearHead) -> float:
        assert validation is not None
        return accuracy(head.scores(validation[0]), validation[1], task)

    if solver == "lbfgs":
        strengths = [float(v) for v in l2] if isinstance(l2, Sequence) else [float(l2)]
        if not strengths or min(strengths) < 0:
            raise ValueError(f"evaluation.linear.l2={l2}: one or more strengths ≥ 0 are needed")
        if len(strengths) > 1 and validation is None:
            raise ValueError(f"evaluation.linear.l2={l2}: a choice needs validation data")
        heads = {
            s: fit_logistic_regression(x, y, num_classes=num_classes, task=task, l2=s).unstandardized(
                mean, std
            )
            for s in strengths
        }
        rates = {} if validation is None else {s: rate(head) for s, head in heads.items()}
        # Of equal accuracies the stronger regularisation wins.
        strength = max(strengths, key=lambda s: (rates.get(s, 0.0), s))
        chosen = {"l2": strength, "validation_accuracy": rates}
        return LinearProbe(heads[strength], heads[strength], {**settings, "l2": strength}, chosen)

    if epochs < 1 or batch_size < 1:
        raise ValueError(f"evaluation.linear: epochs={epochs} and batch_size={batch_size} must be ≥ 1")
    recipe = dict(epochs=epochs, batch_size=batch_size, lr=lr, weight_decay=weight_decay)
    kept: dict[str, Any] = {"last": None, "best": None, "epoch": epochs, "accuracy": -1.0}

    def watch(epoch: int, head: LinearHead) -> None:
        raw = head.unstandardized(mean, std)
        kept["last"] = raw
        if validation is not None and (value := rate(raw)) > kept["accuracy"]:
            kept.update(best=raw, epoch=epoch, accuracy=value)
        elif validation is None and epoch == (keep_epoch or epochs):
            kept.update(best=raw, epoch=epoch)

    _fit_steps(
        x, y, outputs, task, watch, solver=solver, momentum=momentum, milestones=milestones, seed=seed,
        epochs=epochs, batch_size=batch_size, lr=lr, weight_decay=weight_decay,
    )  # fmt: skip
    settings.update(recipe, milestones=list(milestones), seed=seed)
    if solver == "sgd":
        settings["momentum"] = momentum
    chosen = {"best_epoch": kept["epoch"]}
    if validation is not None:
        chosen["validation_accuracy"] = kept["accuracy"]
    return LinearProbe(kept["last"], kept["best"], settings, chosen)
