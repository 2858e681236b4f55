"""Checks of a request and of its data, and warnings about unreliable results."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log

from ssl_ext.config.networks import check_images
from ssl_ext.config.recipes import TRAINED, Recipes
from ssl_ext.errors import UserError
from ssl_ext.evaluation import Splits, labelled_rows
from ssl_ext.evaluation.tasks import one_sided_classes
from ssl_ext.models.evaluated import EvaluatedModel

from .plan import Measurement
from .request import Request

FEW_TEST_IMAGES = 100
NAMED = 5  # classes listed in a warning


def check_data(key: str, splits: Splits, network: EvaluatedModel, size: tuple[int, ...]) -> None:
    """Warn about few test images, classes missing from a split, and images of another size.

    ``size`` is the expected (height, width).

    Raises:
        UserError: Images that the network does not accept.
    """
    train = splits.train
    check_images(network, train, key)
    if splits.test is None:
        return
    test = torch.as_tensor(splits.test.labels).cpu()
    count = int(labelled_rows(test).sum())
    if count < FEW_TEST_IMAGES:
        _warn(f"{key}: only {count} test images; one image changes accuracy by {100 / count:.1f} points.")
    own = tuple(train[0]["inputs"].shape[1:])
    if own != size:
        _warn(
            f"{key}: images have {own} pixels, but those of evaluation_dataset have {size}: the network sees "
            "objects at another scale."
        )
    tested = one_sided_classes(test, train.num_classes)
    trained = one_sided_classes(torch.as_tensor(train.labels).cpu(), train.num_classes)
    if tested:
        _warn(
            f"{key}: the AUC {'is undefined' if len(tested) == train.num_classes else 'leaves out classes'}, "
            f"because the {splits.test_name} split has no image of (or no image outside) the classes "
            f"{_names(tested, train)}."
        )
    if unknown := [index for index in trained if index not in tested]:
        _warn(
            f"{key}: the train split has no image of (or no image outside) the classes "
            f"{_names(unknown, train)}, which the {splits.test_name} split has."
        )


def check_groups(splits: Splits) -> None:
    """Raise UserError if the training images have no groups."""
    if splits.groups is None:
        raise UserError(
            "--by group: evaluation_dataset has no groups (config key: evaluation_dataset.group)."
        )


def _names(classes: Sequence[int], dataset: Any) -> str:
    listed = ", ".join(str(dataset.classes[index] if dataset.classes else index) for index in classes[:NAMED])
    return f"{listed} and {len(classes) - NAMED} more" if len(classes) > NAMED else listed


def _warn(message: str) -> None:
    print_log(message, logger="current", level=logging.WARNING)


def check_unlabelled(config: Config, request: Request) -> None:
    """Raise UserError if a config without labelled images cannot be evaluated with this request."""
    if set(request.protocols) != {"quality"} or request.labels_per_class or "supervised" in request.baselines:
        raise UserError(
            "The config has no evaluation_dataset (images with labels): without it only --protocols quality "
            "is measured, on the training images."
        )
    if not (config.get("train_dataloader") or {}).get("dataset"):
        raise UserError(
            "The config has neither evaluation_dataset nor train_dataloader.dataset to evaluate on."
        )


def check_recipes(recipes: dict[str | None, Recipes], measurements: Sequence[Measurement]) -> None:
    """Raise UserError if a named recipe lacks the protocol of a measurement."""
    for one in measurements:
        own = recipes[one.recipe]
        if getattr(own, one.recipe_key) is None:
            known = ", ".join(key for key in TRAINED if getattr(own, key) is not None)
            raise UserError(
                f"--recipe {one.recipe} has no recipe for {one.protocol} (evaluation.{one.recipe_key}); "
                f"it has recipes for {known}."
            )
