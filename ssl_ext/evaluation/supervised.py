"""The supervised baseline: the same network from random weights on the same few labels."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from .features import batches, evaluation_mode
from .metrics import accuracy, evaluate_scores
from .protocols import Outcome
from .tasks import classification_loss, labelled_rows, num_outputs, probabilities

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


class _Classifier(nn.Module):
    def __init__(self, net: nn.Module, width: int, outputs: int) -> None:
        super().__init__()
        self.net = net
        self.head = nn.Linear(width, outputs)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.net(images))


def _score(
    model: _Classifier, dataset: Any, preprocess: Callable[[Tensor], Tensor], task: str, batch_size: int
) -> tuple[Tensor, Tensor]:
    """Class probabilities and labels of the labelled rows of a data set."""
    scores, labels = [], []
    with evaluation_mode(model):
        for batch in batches(dataset, batch_size=batch_size):
            scores.append(probabilities(model(preprocess(batch["inputs"])).float(), task).cpu())
            labels.append(batch["labels"].cpu())
    all_scores, all_labels = torch.cat(scores), torch.cat(labels)
    known = labelled_rows(all_labels)
    return all_scores[known], all_labels[known]


def _index_batches(count: int, batch_size: int) -> Iterator[Tensor]:
    """Endless batches of shuffled rows; every pass is a new order, an incomplete batch is dropped."""
    size = min(batch_size, count)
    while True:
        yield from torch.randperm(count)[: count - count % size].split(size)


def train_from_scratch(
    make_model: Callable[[], nn.Module],
    images: Tensor,
    labels: Tensor,
    *,
    val: Any,
    test: Any,
    num_classes: int,
    preprocess: Callable[[Tensor], Tensor],
    augment: Callable[[Tensor], Tensor] | None = None,
    task: str = "multi-class",
    steps: int = 1000,
    batch_size: int = 64,
    lr: float = 1e-3,
    weight_decay: float = 1e-4,
    optimizer: str = "adamw",
    evaluations: int = 10,
    eval_batch_size: int = 512,
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> Outcome:
    """Train a network with a linear head on a few labels; test metrics of two sets of weights.

    ``last`` is after the last step, ``best`` at the check of best validation accuracy (the first of
    equal ones). The learning rate falls to 0 by a cosine. The caller's random state is untouched.

    Args:
        make_model: Builds the randomly initialised network: normalised images to (N, D).
        images: uint8 (n, C, H, W), n ≥ 2.
        labels: int64 (n,), or 0/1 (n, L) for ``multi-label``; all labelled.
        val: Data set for the choice of weights.
        test: Data set that is reported.
        num_classes: Number of classes, or of labels.
        preprocess: From clean uint8 images to what the network takes, on ``device``.
        augment: The same with random augmentation; default ``preprocess``.
        task: Kind of labels.
        steps: Optimiser steps.
        batch_size: Images per step, at most n.
        lr: Largest learning rate.
        weight_decay: Of all parameters.
        optimizer: ``'adamw'`` or ``'adam'``.
        evaluations: Checks on validation, evenly spaced, the last one after the last step.
        eval_batch_size: Images per forward pass of a check.
        device: Where to train.
        seed: Of the weights, the order of the images and the augmentation.

    Raises:
        ValueError: A setting out of range, fewer than two images, or unlabelled ones.
    """
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"evaluation.supervised.optimizer={optimizer!r}: allowed are adam, adamw")
    if not 1 <= evaluations <= steps or batch_size < 2:
        raise ValueError(
            f"evaluation.supervised: steps={steps}, evaluations={evaluations}, batch_size={batch_size}; "
            "1 ≤ evaluations ≤ steps and batch_size ≥ 2 are needed"
        )
    if len(images) < 2 or not bool(labelled_rows(labels).all()):
        raise ValueError(f"{len(images)} images to train on: at least 2, all labelled, are needed")
    augment = augment or preprocess
    cuda = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        net = make_model().to(device)
        with evaluation_mode(net):
            width = net(preprocess(images[:1])).shape[1]
        model = _Classifier(net, width, num_outputs(num_classes, task)).to(device)
        learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optim = OPTIMIZERS[optimizer](learned, lr=lr, weight_decay=weight_decay)  # type: ignore[call-arg]
        checks = {round(steps * (i + 1) / evaluations) for i in range(evaluations)}
        best_step, best_rate, best_weights = 0, -1.0, model.state_dict()
        labels = labels.to(device)
        model.train()
        for step, rows in zip(range(1, steps + 1), _index_batches(len(images), batch_size), strict=False):
            optim.param_groups[0]["lr"] = lr * (1 + math.cos(math.pi * (step - 1) / steps)) / 2
            logits = model(augment(images[rows.to(images.device)])).float()
            loss = classification_loss(logits, labels[rows.to(labels.device)], task)
            optim.zero_grad()
            loss.backward()
            optim.step()
            if step in checks:
                rate = accuracy(*_score(model, val, preprocess, task, eval_batch_size), task)
                if rate > best_rate:
                    best_step, best_rate = step, rate
                    best_weights = copy.deepcopy(model.state_dict())
        last = evaluate_scores(*_score(model, test, preprocess, task, eval_batch_size), task)
        model.load_state_dict(best_weights)
        best = evaluate_scores(*_score(model, test, preprocess, task, eval_batch_size), task)
    settings = dict(
        steps=steps,
        batch_size=min(batch_size, len(images)),
        lr=lr,
        schedule="cosine",
        weight_decay=weight_decay,
        optimizer=optimizer,
        augmented=augment is not preprocess,
        seed=seed,
        chosen_on_validation={"best_step": best_step, "validation_accuracy": best_rate},
    )
    return Outcome(last, best, settings)
