"""Supervised training of a network: fine-tuning, or a baseline from random weights."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ssl_ext.capture import Graph

from .features import batches, evaluation_mode
from .fitting import Batch, fit
from .linear_head import initial_layer
from .metrics import accuracy
from .predictions import Scored
from .protocols import Outcome
from .recipe import Recipe
from .tasks import classification_loss, labelled_rows, num_outputs, probabilities


class _Fitted(NamedTuple):
    """A trained network, and its weights at the selected check."""

    model: nn.Module
    kept: dict[str, Any]


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
    task: str = "multi-class",
    eval_batch_size: int = 512,
    num_workers: int = 0,
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> Outcome:
    """Train a network with a linear head on rows of a data set; report test metrics of last and best weights.

    ``last`` is measured after the last step, ``best`` at the recipe's check of highest validation accuracy
    (the earliest on ties). On a GPU the step of a full batch, including augmentation, is replayed as a CUDA
    graph. The global random state is restored.

    Args:
        net: Maps normalised images to (N, D); trained in place and left at the best weights.
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
        task: ``'multi-class'``, ``'ordinal'``, ``'binary'`` or ``'multi-label'``.
        eval_batch_size: Images per forward pass of a check.
        num_workers: Processes that decode images; leave 0 for images held in memory.
        device: Device to train on.
        seed: Seed of the head, the order of the images and the augmentation.

    Raises:
        ValueError: Fewer than two rows, unlabelled rows, or a non-finite loss.
    """
    for part in (rows, rows if refit_rows is None else refit_rows):
        labels = torch.as_tensor(train.labels).cpu()[part.cpu()]
        if len(part) < 2 or not bool(labelled_rows(labels).all()):
            raise ValueError(f"{len(part)} images to train on: at least 2, all labelled, are needed")
    augmented = augment or preprocess

    def score(model: nn.Module, dataset: Any) -> tuple[Tensor, Tensor]:
        scored = batches(dataset, batch_size=eval_batch_size, num_workers=num_workers)
        return _score(model, scored, preprocess, task)

    def fitted(net: nn.Module, rows: Tensor, choose: Callable[[nn.Module, int, int], bool]) -> _Fitted:
        """Train a network and keep its weights at the checks that ``choose`` is true for."""

        def source(parts: Sequence[Tensor]) -> Iterator[Batch]:
            for batch in batches(train, [rows[part] for part in parts], num_workers=num_workers):
                yield batch["inputs"], batch["labels"]

        def loss(images: Tensor, labels: Tensor) -> Tensor:
            logits = model(augmented(images))
            return classification_loss(logits, labels.to(device, non_blocking=True), task)

        def watch(step: int, epoch: int) -> None:
            if choose(model, next(checks), step):
                kept.update(copy.deepcopy(model.state_dict()))

        checks, kept = itertools.count(1), dict[str, Any]()
        generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        with evaluation_mode(net):
            width = net(preprocess(next(batches(train, rows[:1]))["inputs"])).shape[1]
        model = _Classifier(net, width, num_outputs(num_classes, task), generator).to(device)
        model.train()
        learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
        fit(
            learned, source, loss, count=len(rows), recipe=recipe, generator=generator, watch=watch,
            recorder=Graph if torch.device(device).type == "cuda" else None,
        )  # fmt: skip
        return _Fitted(model, kept)

    checked: dict[int, float] = {}
    seen: dict[str, Any] = {}
    best: dict[str, Any] = {}

    def better(model: nn.Module, check: int, step: int) -> bool:
        seen.update(zip(("scores", "labels"), score(model, val), strict=True), step=step, check=check)
        checked[step] = accuracy(seen["scores"], seen["labels"], task)
        if checked[step] <= best.get("rate", -1.0):
            return False
        best.update(seen, rate=checked[step])
        return True

    cuda = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=cuda):
        start = net if refit_rows is None else copy.deepcopy(net)
        found = fitted(start, rows, better)
        if refit_rows is not None:
            found = fitted(net, refit_rows, lambda model, check, step: check == best["check"])
        last, test_labels = score(found.model, test)
        at_best = last
        if best["check"] != seen["check"]:
            found.model.load_state_dict(found.kept)
            at_best, _ = score(found.model, test)
    settings = {
        **recipe.settings,
        "batch_size": min(recipe.batch_size, len(rows)),
        "seed": seed,
        "fit_includes_validation": refit_rows is not None,
        "chosen_on_validation": {
            "best_step": best["step"],
            "validation_accuracy": best["rate"],
            "checked": checked,
        },
    }
    # The last check is after the last step; validation scores are of the training that did not see them.
    at_last = best["scores"] if at_best is last else seen["scores"]
    scored = Scored(last, at_best, test_labels), Scored(at_last, best["scores"], best["labels"])
    return Outcome.of(*scored, settings, task=task, num_classes=num_classes)


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
