"""Batched training of linear layers for several problems of one shape, on features in memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_ext.console import track

from .balance import epoch_order
from .linear_head import initial_layer
from .metrics import right_predictions
from .recipe import Recipe
from .tasks import classification_loss, num_outputs, prediction_error, probabilities

LOSS_LOGITS = 1 << 24
"""Maximum number of logits that are held for the training loss."""
GRAPH_STEPS = 256
"""Maximum number of steps in one CUDA graph."""


@dataclass(frozen=True)
class Problems:
    """Training rows of S problems of one shape, and validation rows for the selection of an epoch.

    ``features`` (S, N, D) and ``labels`` (S, N) or (S, N, L), or (1, …) if all problems share them;
    ``val_features`` and ``val_labels`` likewise. Without validation rows ``keep_epochs`` (S,) are the
    selected epochs, 0 for the last one. ``weights`` and ``val_weights``, shaped as the labels, multiply the
    loss and the correct validation predictions; ``chances`` has for each problem the relative frequencies
    with which its rows are drawn, or None.
    """

    features: Tensor
    labels: Tensor
    seeds: Sequence[int]
    val_features: Tensor | None = None
    val_labels: Tensor | None = None
    keep_epochs: Sequence[int] = ()
    weights: Tensor | None = None
    val_weights: Tensor | None = None
    chances: Sequence[Tensor | None] = ()


@dataclass(frozen=True)
class Layers:
    """Weights (S, C, D) and biases (S, C) after the last epoch and after the selected epoch.

    ``epochs`` (S,) are the selected epochs, ``right`` (S,) their (weighted) correct predictions on validation
    rows, -1 without validation; ``fall`` (S,) is the share by which the training loss fell in the last epoch.
    """

    weight: Tensor
    bias: Tensor
    best_weight: Tensor
    best_bias: Tensor
    epochs: list[int]
    right: list[float]
    fall: list[float]


def fit_layers(problems: Problems, *, num_classes: int, task: str, recipe: Recipe) -> Layers:
    """Train one layer per problem, each with its own order of rows; results equal separate training.

    The optimisers act elementwise, so the problems form one batched layer trained on the sum of their losses.
    On a GPU the steps of an epoch are CUDA graphs with a single host sync at the end.

    Raises ValueError if a loss is not finite after an epoch.
    """
    x, count = problems.features, len(problems.seeds)
    generators = [torch.Generator().manual_seed(seed) for seed in problems.seeds]
    outputs = num_outputs(num_classes, task)
    starts = [initial_layer(x.shape[2], outputs, generator) for generator in generators]
    weight, bias = (torch.stack(part).to(x) for part in zip(*starts, strict=True))
    steps = _Steps(problems, weight, bias, task, recipe)
    best_weight, best_bias = weight.clone(), bias.clone()
    epochs = torch.full((count,), recipe.epochs, device=x.device)
    right = torch.full((count,), -1.0, dtype=torch.float64, device=x.device)
    keep = [epoch or recipe.epochs for epoch in problems.keep_epochs] or [recipe.epochs] * count
    wanted = torch.tensor(keep).to(x.device)
    losses: list[Tensor] = []
    before = weight.new_zeros(count)
    chances = problems.chances or [None] * count
    for epoch in track(range(1, recipe.epochs + 1), "training", recipe.epochs, "epochs"):
        if epoch == recipe.epochs:
            before = _training_losses(problems, weight, bias, task)
        orders = [
            epoch_order(x.shape[1], own, generator)
            for own, generator in zip(chances, generators, strict=True)
        ]
        losses.append(steps.epoch(torch.stack(orders), epoch))
        if x.is_cpu:
            _check_finite(losses[-1].item(), epoch * steps.per_epoch, recipe)
        if problems.val_features is not None:
            found = _right(problems, weight, bias, task).double()
            better, right = found > right, torch.maximum(found, right)
        elif epoch in keep:
            better = wanted == epoch
        else:
            continue
        epochs.masked_fill_(better, epoch)
        best_weight = torch.where(better.view(-1, 1, 1), weight, best_weight)
        best_bias = torch.where(better.view(-1, 1), bias, best_bias)
    for epoch, loss in enumerate(torch.stack(losses).tolist(), 1):
        _check_finite(loss, epoch * steps.per_epoch, recipe)
    fall = (before - _training_losses(problems, weight, bias, task)) / before.clamp_min(1e-30)
    return Layers(
        weight, bias, best_weight, best_bias, epochs.tolist(), right.tolist(), fall.tolist()
    )  # fmt: skip


class _Steps:
    """Steps of an epoch: one by one on the CPU, replays of a captured block of steps on a GPU."""

    def __init__(self, problems: Problems, weight: Tensor, bias: Tensor, task: str, recipe: Recipe) -> None:
        self.weight, self.bias, self.task = weight, bias, task
        shared, rows, _ = problems.features.shape
        self.size = size = min(recipe.batch_size, rows)
        self.features, self.labels = problems.features.flatten(0, 1), problems.labels.flatten(0, 1)
        self.weights = None if problems.weights is None else problems.weights.flatten(0, 1)
        # Row r of problem s has flat index s N + r.
        self.offset = torch.arange(len(weight)).unsqueeze(1) * (rows if shared > 1 else 0)
        self.per_epoch = math.ceil(rows / size)
        total = recipe.epochs * self.per_epoch
        self.rates: Sequence[float] | Tensor
        self.rates = [recipe.rate(step, total, self.per_epoch) for step in range(total)]
        self.captured, self.block = weight.is_cuda, self.per_epoch
        self.graph: torch.cuda.CUDAGraph | None = None
        if self.captured:
            self.rates = torch.tensor(self.rates).to(weight)
            whole = rows // size
            self.block = whole // math.ceil(whole / GRAPH_STEPS)
            self.order = torch.zeros(len(weight), self.block * size, dtype=torch.long, device=weight.device)
            self.block_rates = torch.zeros(self.block).to(weight)
        self.optimizer = recipe.build_optimizer([weight, bias], capturable=self.captured)

    def epoch(self, order: Tensor, number: int) -> Tensor:
        """Train on the rows in ``order`` (S, N), on the CPU; return the loss of the last step."""
        order = order + self.offset
        first, done = (number - 1) * self.per_epoch, 0
        if self.captured:
            order = order.pin_memory().to(self.weight.device, non_blocking=True)
            # The first epoch is the warm-up for the capture.
            done = 0 if number == 1 else self._replay(order, first)
        for step in range(done, self.per_epoch):
            self._step(step, order, self.rates[first + step])
        # The next replay overwrites tensors of the graph.
        return self.loss.clone()

    def _step(self, step: int, order: Tensor, rate: float | Tensor) -> None:
        rows = order[:, step * self.size : (step + 1) * self.size].flatten()
        labels = self.labels.index_select(0, rows)
        weights = None if self.weights is None else self.weights.index_select(0, rows)
        features = self.features.index_select(0, rows).view(len(self.weight), -1, self.features.shape[1])
        logits = torch.baddbmm(self.bias.unsqueeze(1), features, self.weight.transpose(1, 2))
        if (step + 1) % self.block == 0 or step + 1 == self.per_epoch:
            self.loss = classification_loss(logits.flatten(0, 1), labels, self.task, weights)
        # Of each problem's mean loss, over its rows and, where there are several, its labels.
        error = prediction_error(logits.flatten(0, 1), labels, self.task, weights).view_as(logits)
        error /= logits.shape[1] * (logits.shape[2] if self.task == "multi-label" else 1)
        self.weight.grad, self.bias.grad = torch.bmm(error.transpose(1, 2), features), error.sum(1)
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.step()

    def _replay(self, order: Tensor, first: int) -> int:
        """Run the full blocks of the epoch; return their number of steps."""
        assert isinstance(self.rates, Tensor)
        if self.graph is None:
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                for step in range(self.block):
                    self._step(step, self.order, self.block_rates[step])
        done = 0
        while (done + self.block) * self.size <= order.shape[1]:
            self.order.copy_(order[:, done * self.size : (done + self.block) * self.size])
            self.block_rates.copy_(self.rates[first + done : first + done + self.block])
            self.graph.replay()
            done += self.block
        return done


def _right(problems: Problems, weight: Tensor, bias: Tensor, task: str) -> Tensor:
    """Return the (weighted) number of correct predictions (S,) of every layer on its validation rows."""
    assert problems.val_features is not None and problems.val_labels is not None
    rows = problems.val_features.expand(len(weight), -1, -1)
    logits = torch.baddbmm(bias.unsqueeze(1), rows, weight.transpose(1, 2))
    scores = probabilities(logits.flatten(0, 1), task).view_as(logits)
    return right_predictions(scores, problems.val_labels, task, problems.val_weights)


def _training_losses(problems: Problems, weight: Tensor, bias: Tensor, task: str) -> Tensor:
    """Mean loss (S,) of every layer on all its training rows."""
    shared, rows, _ = problems.features.shape
    size = max(1, LOSS_LOGITS // weight.shape[1])
    found = []
    for i, (own_weight, own_bias) in enumerate(zip(weight, bias, strict=True)):
        own = i if shared > 1 else 0
        total = weight.new_zeros(())
        for first in range(0, rows, size):
            at = slice(first, first + size)
            weights = None if problems.weights is None else problems.weights[own, at]
            logits = F.linear(problems.features[own, at], own_weight, own_bias)
            total += classification_loss(logits, problems.labels[own, at], task, weights) * len(logits)
        found.append(total / rows)
    return torch.stack(found)


def _check_finite(loss: float, step: int, recipe: Recipe) -> None:
    if not math.isfinite(loss):
        raise ValueError(f"the loss is {loss} after step {step}: {recipe.key}.lr={recipe.lr} is too large")
