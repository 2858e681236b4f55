"""Supervised training of a network: fine-tuning, or a baseline from random weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ssl_ext.capture import Graph

from .balance import Balance, Weighting, row_weights, settings_of
from .features import batches, evaluation_mode
from .fitting import Batch, fit
from .linear_head import LinearHead, initial_layer
from .predictions import Scored
from .protocols import Outcome
from .recipe import Recipe
from .tasks import (
    classification_loss,
    cross_entropy_of,
    labelled_rows,
    num_outputs,
    probabilities,
    right_logits,
)
from .unfinished import Unfinished

CURVES = ("step", "epoch", "loss", "acc", "val_loss", "val_acc")
"""Figures at each check: training loss and accuracy since the check before, and validation's."""


class _Fitted(NamedTuple):
    """A trained network, its weights at the selected check, and the class weights of its loss."""

    model: _Classifier
    kept: dict[str, Any]
    table: Tensor | None


class _Classifier(nn.Module):
    """Network with a linear layer, initialised as in the linear probe."""

    def __init__(self, net: nn.Module, width: int, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.net = net
        self.head = nn.Linear(width, outputs)
        weight, bias = initial_layer(width, outputs, generator)
        self.head.load_state_dict(dict(weight=weight, bias=bias))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.net(images)).float()

    def linear_head(self, task: str) -> LinearHead:
        """A copy of the linear layer."""
        return LinearHead(self.head.weight.detach().clone(), self.head.bias.detach().clone(), task)


def train_classifier(
    net: nn.Module,
    train: Any,
    rows: Tensor,
    *,
    refit_rows: Tensor | None = None,
    val: Any,
    test: Any,
    num_classes: int,
    preprocess: Callable[[Tensor], Tensor],
    recipe: Recipe,
    augment: Callable[[Tensor], Tensor] | None = None,
    leave: str = "best",
    task: str = "multi-class",
    eval_batch_size: int = 512,
    num_workers: int = 0,
    device: torch.device | str = "cpu",
    seed: int = 0,
    balance: Balance | None = None,
    unfinished: Unfinished | None = None,
) -> Outcome:
    """Train a network with a linear head on rows of a data set; report test metrics of last and best weights.

    ``last`` is measured after the last step, ``best`` at the recipe's check of highest validation accuracy
    (the earliest on ties). On a GPU the step of a full batch, including augmentation, is replayed as a CUDA
    graph. The global random state is restored.

    Args:
        net: Maps normalised images to (N, D); trained in place, and the ``network`` of the outcome.
        train: Data set of uint8 images and labels.
        rows: Rows of ``train`` to train on, at least 2, all labelled.
        refit_rows: After the selection train again from the same start on these rows, and report that
            network; its best check is the one that was selected.
        val: Data set on which the weights are selected.
        test: Data set on which metrics are reported.
        num_classes: Number of classes, or of labels for ``multi-label``.
        preprocess: Maps uint8 images to the network's input on ``device``.
        recipe: Optimiser, length, learning rate, checks.
        augment: Like ``preprocess``, with random augmentation; default ``preprocess``.
        leave: Weights at which ``net`` is left, ``'best'`` or ``'last'``.
        task: ``'multi-class'``, ``'ordinal'``, ``'binary'`` or ``'multi-label'``.
        eval_batch_size: Images per forward pass of a check.
        num_workers: Processes that decode images; leave 0 for images held in memory.
        device: Device to train on.
        seed: Seed of the head, the order of the images and the augmentation.
        balance: Class weights or sampling for unequal classes.
        unfinished: Files of the state, from which the same training is resumed.

    Raises:
        ValueError: Fewer than two rows, unlabelled rows, or a non-finite loss.
    """
    known, weighting = torch.as_tensor(train.labels).cpu(), Weighting(balance, num_classes, task)
    for part in (rows, rows if refit_rows is None else refit_rows):
        labels = known[part.cpu()]
        if len(part) < 2 or not bool(labelled_rows(labels).all()):
            raise ValueError(f"{len(part)} images to train on: at least 2, all labelled, are needed")
    augmented = augment or preprocess

    def score(model: nn.Module, dataset: Any) -> tuple[Tensor, Tensor]:
        scored = batches(dataset, batch_size=eval_batch_size, num_workers=num_workers)
        return _score(model, scored, preprocess, task)

    def fitted(net: nn.Module, rows: Tensor, choose: Callable[..., bool], phase: str) -> _Fitted:
        """Train a network and keep its weights at the checks that ``choose`` is true for."""

        def source(parts: Sequence[Tensor]) -> Iterator[Batch]:
            for batch in batches(train, [rows[part] for part in parts], num_workers=num_workers):
                yield batch["inputs"], batch["labels"]

        def loss(images: Tensor, labels: Tensor) -> Tensor:
            logits, labels = model(augmented(images)), labels.to(device, non_blocking=True)
            weights = None if table is None else row_weights(labels, table)
            value = classification_loss(logits, labels, task, weights)
            with torch.no_grad():
                terms: tuple[Any, ...] = value * len(labels), right_logits(logits, labels, task), len(labels)
                for total, term in zip(totals, terms, strict=True):
                    total.add_(term)
            return value

        def watch(check: int, step: int, epoch: int) -> None:
            *sums, count = totals.tolist()
            if choose(model, check, step, epoch, *(one / count for one in sums)):
                kept.update(copy.deepcopy(model.state_dict()))
            totals.zero_()

        kept, own = dict[str, Any](), known[rows.cpu()]
        table = weighting.table(own.to(device))
        totals = torch.zeros(3, device=device)  # of loss, right predictions and images
        generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        with evaluation_mode(net):
            width = net(preprocess(next(batches(train, rows[:1]))["inputs"])).shape[1]
        model = _Classifier(net, width, num_outputs(num_classes, task), generator).to(device)
        model.train()
        learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
        fit(
            learned, source, loss, count=len(rows), recipe=recipe, generator=generator, watch=watch,
            recorder=Graph if torch.device(device).type == "cuda" else None, chances=weighting.chances(own),
            unfinished=unfinished and unfinished.part(phase),
            changed=dict(model=model, kept=kept, totals=totals, best=best, seen=seen, curves=curves),
        )  # fmt: skip
        return _Fitted(model, kept, table)

    curves: dict[str, list[float]] = {name: [] for name in CURVES}
    seen: dict[str, Any] = {}
    best: dict[str, Any] = {}

    def better(model: nn.Module, check: int, step: int, epoch: int, loss: float, acc: float) -> bool:
        seen.update(zip(("scores", "labels"), score(model, val), strict=True), step=step, check=check)
        rate = weighting.accuracy(seen["scores"], seen["labels"])
        val_loss = cross_entropy_of(seen["scores"], seen["labels"], task)
        for name, value in zip(CURVES, (step, epoch, loss, acc, val_loss, rate), strict=True):
            curves[name].append(value)
        if rate <= best.get("rate", -1.0):
            return False
        best.update(seen, rate=rate)
        return True

    cuda = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=cuda):
        start = net if refit_rows is None else copy.deepcopy(net)
        found = fitted(start, rows, better, "selection")
        if refit_rows is not None:
            found = fitted(net, refit_rows, lambda model, check, *about: check == best["check"], "refit")
        last, test_labels = score(found.model, test)
        at_best, heads = last, dict.fromkeys(("last", "best"), found.model.linear_head(task))
        if best["check"] != seen["check"]:
            end = copy.deepcopy(found.model.state_dict()) if leave == "last" else None
            found.model.load_state_dict(found.kept)
            at_best, _ = score(found.model, test)
            heads["best"] = found.model.linear_head(task)
            if end is not None:
                found.model.load_state_dict(end)
    settings = {
        **settings_of(found.table),
        **recipe.settings,
        "batch_size": min(recipe.batch_size, len(rows)),
        "seed": seed,
        "fit_includes_validation": refit_rows is not None,
        "chosen_on_validation": {
            "best_step": best["step"],
            "validation_accuracy": best["rate"],
            "checked": dict(zip(curves["step"], curves["val_acc"], strict=True)),
        },
    }
    # The last check is after the last step; validation scores are of the training that did not see them.
    at_last = best["scores"] if at_best is last else seen["scores"]
    scored = Scored(last, at_best, test_labels), Scored(at_last, best["scores"], best["labels"])
    return Outcome.of(
        *scored, settings, task=task, num_classes=num_classes, curves=curves, heads=heads, network=net
    )


def _score(
    model: nn.Module,
    scored: Iterable[dict[str, Tensor]],
    preprocess: Callable[[Tensor], Tensor],
    task: str,
) -> tuple[Tensor, Tensor]:
    """Return class probabilities and labels of all labelled rows of the batches."""
    scores, labels = [], []
    with evaluation_mode(model):
        for batch in scored:
            scores.append(probabilities(model(preprocess(batch["inputs"])), task).cpu())
            labels.append(batch["labels"].cpu())
    all_scores, all_labels = torch.cat(scores), torch.cat(labels)
    known = labelled_rows(all_labels)
    return all_scores[known], all_labels[known]
