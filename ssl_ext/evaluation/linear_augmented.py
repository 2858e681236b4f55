"""Linear probe on augmented images: every epoch draws new views for the frozen backbone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .balance import Balance, Weighting, row_weights, settings_of
from .feature_bank import FeatureBank
from .features import batches, evaluation_mode
from .fitting import Batch, Source, fit
from .linear import LinearProbe
from .linear_head import LinearHead, initial_layer
from .protocols import Outcome, scored
from .recipe import Recipe
from .tasks import classification_loss, num_outputs
from .unfinished import Unfinished


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
    keep_check: int | None = None,
    table: Tensor | None = None,
    chances: Tensor | None = None,
    unfinished: Unfinished | None = None,
) -> LinearProbe:
    """Train a linear layer on batches of features (B, width) and labels from ``source``.

    ``best`` is the head of highest ``rate`` (the first of equal ones) at the recipe's checks; without
    ``rate`` it is the head at check ``keep_check``, counted from 1, or the last one. ``table``
    has class weights of the loss (:func:`ssl_ext.evaluation.balance.normalized`), ``chances`` and
    ``unfinished`` are those of :func:`.fitting.fit`.
    """
    generator = torch.Generator().manual_seed(seed)
    start = initial_layer(width, num_outputs(num_classes, task), generator)
    weight, bias = (value.to(device, dtype).requires_grad_() for value in start)
    kept: dict[str, Any] = {"best": None, "epoch": recipe.epochs, "accuracy": -1.0, "steps": 0}
    steps = recipe.steps_per_epoch(count)
    losses = torch.zeros(2 * steps, dtype=dtype, device=device)  # of the last steps

    def loss(features: Tensor, labels: Tensor) -> Tensor:
        weights = None if table is None else row_weights(labels, table)
        value = classification_loss(F.linear(features, weight, bias), labels, task, weights)
        losses[kept["steps"] % len(losses)] = value.detach()
        kept["steps"] += 1
        return value

    def head() -> LinearHead:
        return LinearHead(weight.detach().clone(), bias.detach().clone(), task)

    def watch(check: int, step: int, epoch: int) -> None:
        current = head()
        if rate is not None:
            if (value := rate(current)) > kept["accuracy"]:
                kept.update(best=[current.weight, current.bias], epoch=epoch, accuracy=value, check=check)
        elif check == keep_check:
            kept.update(best=[current.weight, current.bias], epoch=epoch)

    fit(
        [weight, bias], source, loss, count=count, recipe=recipe, generator=generator, watch=watch,
        chances=chances, unfinished=unfinished,
        changed=dict(weight=weight, bias=bias, kept=kept, losses=losses),
    )  # fmt: skip
    last = head()
    best = last
    if kept["best"] is not None:
        weight, bias = (part.to(device) for part in kept["best"])
        best = LinearHead(weight, bias, task)
    chosen = {"best_epoch": kept["epoch"]}
    if rate is not None:
        chosen |= {"validation_accuracy": kept["accuracy"], "best_check": kept["check"]}
    settings = {
        **settings_of(table),
        **recipe.settings,
        "seed": seed,
        "last_epoch_fall": _fall(losses.roll(-kept["steps"])) if kept["steps"] >= len(losses) else None,
    }
    return LinearProbe(last, best, settings, chosen)


def _fall(losses: Tensor) -> float:
    """Share by which the mean loss fell from the second to last epoch to the last."""
    before, last = losses.view(2, -1).mean(1).tolist()
    return (before - last) / before if before > 0 else 0.0


def augmented_linear_protocol(
    embed: Callable[[Tensor], Tensor],
    train: Any,
    rows: Tensor,
    *,
    refit_rows: Tensor | None = None,
    val: FeatureBank,
    test: FeatureBank,
    model: nn.Module,
    num_classes: int,
    recipe: Recipe,
    task: str = "multi-class",
    num_workers: int = 0,
    seed: int = 0,
    balance: Balance | None = None,
    unfinished: Unfinished | None = None,
) -> Outcome:
    """Train a linear layer on features of augmented images of a frozen network.

    He et al., "Momentum Contrast", 2020, Section 4.1. The network is in evaluation mode without gradients, so
    its parameters and buffers do not change. Validation and test images are not augmented, so their features
    are computed once. The caller's random state is not changed.

    Args:
        embed: Map uint8 images (N, C, H, W) to features (N, D) of a random view of each.
        train: Data set of uint8 images and labels.
        rows: Labelled training rows of ``train``.
        refit_rows: Train again on these rows after the selection, and report that layer.
        val: Features for the selection of the epoch.
        test: Features for the reported figures.
        model: Module to put in evaluation mode.
        num_classes: Number of classes, or of labels.
        recipe: Optimiser, length, learning rate.
        task: Kind of labels.
        num_workers: Processes that decode images; 0 for images in memory.
        seed: Seed of initialisation, order of images and augmentation.
        balance: Class weights or sampling for unequal classes.
        unfinished: Files of the state, from which the same training is resumed.

    Raises:
        ValueError: No rows, or the loss is not finite.
    """
    if len(rows) == 0:
        raise ValueError("no training row is labelled: a linear probe needs labels")
    device, weighting = test.features.device, Weighting(balance, num_classes, task)

    def fit_layer(rows: Tensor, phase: str, **options: Any) -> LinearProbe:
        def source(parts: Sequence[Tensor]) -> Iterator[Batch]:
            for batch in batches(train, [rows[part] for part in parts], num_workers=num_workers):
                with evaluation_mode(model):
                    features = embed(batch["inputs"]).float()
                yield features.to(device), batch["labels"].to(device)

        labels = torch.as_tensor(train.labels).cpu()[rows.cpu()]
        table = weighting.table(labels)
        torch.manual_seed(seed)
        return train_head(
            source, count=len(rows), width=test.features.shape[1], num_classes=num_classes, task=task,
            recipe=recipe, seed=seed, device=device, chances=weighting.chances(labels),
            table=None if table is None else table.to(device),
            unfinished=unfinished and unfinished.part(phase), **options,
        )  # fmt: skip

    def rate(head: LinearHead) -> float:
        return weighting.accuracy(head.scores(val.features), val.labels)

    cuda = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=cuda):
        choice = probe = fit_layer(rows, "selection", rate=rate)
        if refit_rows is not None:
            probe = fit_layer(refit_rows, "refit", keep_check=choice.chosen["best_check"])
    settings = {
        **probe.settings,
        "fit_includes_validation": refit_rows is not None,
        "chosen_on_validation": {key: v for key, v in choice.chosen.items() if key != "best_check"},
    }
    parts = scored(probe, test), scored(choice, val)
    return Outcome.of(
        *parts, settings, task=task, num_classes=num_classes, heads={"last": probe.last, "best": probe.best}
    )
