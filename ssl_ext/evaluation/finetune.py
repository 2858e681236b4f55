"""A network trained on labels: fine-tuned from given weights, or supervised from random ones."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ssl_ext.capture import Graph

from .features import batches, evaluation_mode
from .fitting import Batch, fit
from .linear_head import initial_layer
from .metrics import accuracy, evaluate_scores
from .protocols import Outcome
from .recipe import Recipe
from .tasks import classification_loss, labelled_rows, num_outputs, probabilities


class _Classifier(nn.Module):
    """A network under a linear layer that starts as that of a linear probe."""

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
    """Train a network with a linear head on some rows of a data set; test metrics of two sets of weights.

    ``last`` is after the last step, ``best`` at the recipe's check of best validation accuracy (the
    first of equal ones). The incomplete batch at the end of an epoch is left out: batch normalisation
    needs batches of a size. On a GPU a step, augmentation included, is replayed as a CUDA graph. The caller's
    random state is untouched.

    Args:
        net: From normalised images to (N, D), at the weights to start from; it is trained in place and
            left at its best weights.
        train: Data set of uint8 images and labels.
        rows: Rows of it to train on, 2 or more, all labelled.
        val: Data set for the choice of weights.
        test: Data set that is reported.
        num_classes: Number of classes, or of labels.
        preprocess: From clean uint8 images to what the network takes, on ``device``.
        recipe: Optimiser, length, learning rate, checks.
        augment: The same as ``preprocess`` with random augmentation; default ``preprocess``.
        task: Kind of labels.
        eval_batch_size: Images per forward pass of a check.
        num_workers: Processes that decode images; leave 0 for images held in memory.
        device: Where to train.
        seed: Of the head, the order of the images and the augmentation.

    Raises:
        ValueError: Fewer than two rows, unlabelled ones, or a loss that is no longer finite.
    """
    labels = torch.as_tensor(train.labels).cpu()[rows.cpu()]
    if len(rows) < 2 or not bool(labelled_rows(labels).all()):
        raise ValueError(f"{len(rows)} images to train on: at least 2, all labelled, are needed")
    augmented = augment or preprocess
    generator = torch.Generator().manual_seed(seed)
    checked: dict[int, float] = {}
    best: dict[str, Any] = {}

    def score(dataset: Any) -> tuple[Tensor, Tensor]:
        scored = batches(dataset, batch_size=eval_batch_size, num_workers=num_workers)
        return _score(model, scored, preprocess, task)

    def source(order: Tensor, size: int) -> Iterator[Batch]:
        for batch in batches(train, rows[order], batch_size=size, num_workers=num_workers):
            yield batch["inputs"], batch["labels"]

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        logits = model(augmented(images))
        return classification_loss(logits, labels.to(device, non_blocking=True), task)

    def watch(step: int, epoch: int) -> None:
        checked[step] = accuracy(*score(val), task)
        if checked[step] > best.get("rate", -1.0):
            best.update(rate=checked[step], step=step, weights=copy.deepcopy(model.state_dict()))

    cuda = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        with evaluation_mode(net):
            width = net(preprocess(next(batches(train, rows[:1]))["inputs"])).shape[1]
        model = _Classifier(net, width, num_outputs(num_classes, task), generator).to(device)
        model.train()
        learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
        fit(
            learned, source, loss,
            count=len(rows), recipe=recipe, generator=generator, watch=watch, whole_batches=True,
            recorder=Graph if torch.device(device).type == "cuda" else None,
        )  # fmt: skip
        last = evaluate_scores(*score(test), task)
        model.load_state_dict(best["weights"])
        at_best = evaluate_scores(*score(test), task)
    settings = {
        **recipe.settings,
        "batch_size": min(recipe.batch_size, len(rows)),
        "seed": seed,
        "fit_includes_validation": False,
        "chosen_on_validation": {
            "best_step": best["step"],
            "validation_accuracy": best["rate"],
            "checked": checked,
        },
    }
    return Outcome(last, at_best, settings)


def _score(
    model: nn.Module,
    scored: Iterable[dict[str, Tensor]],
    preprocess: Callable[[Tensor], Tensor],
    task: str,
) -> tuple[Tensor, Tensor]:
    """Class probabilities and labels of the labelled rows of batches."""
    scores, labels = [], []
    with evaluation_mode(model):
        for batch in scored:
            scores.append(probabilities(model(preprocess(batch["inputs"])), task).cpu())
            labels.append(batch["labels"].cpu())
    all_scores, all_labels = torch.cat(scores), torch.cat(labels)
    known = labelled_rows(all_labels)
    return all_scores[known], all_labels[known]
