"""Checks of the evaluation data: images the network accepts, and warnings about unreliable results."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch
from mmengine.logging import print_log

from ssl_ext.config.networks import check_images
from ssl_ext.evaluation.tasks import one_sided_classes
from ssl_ext.models.evaluated import EvaluatedModel

if TYPE_CHECKING:
    from .data import EvaluationData

FEW_TEST_IMAGES = 100
NAMED = 5  # classes listed in a warning


def check_data(data: EvaluationData, network: EvaluatedModel, size: tuple[int, ...]) -> None:
    """Warn of few test images, of an undefined AUC, and of images of another ``size`` (height, width).

    Raises:
        UserError: Images that the network does not accept.
    """
    check_images(network, data.splits.train, data.key)
    if data.test_images < FEW_TEST_IMAGES:
        _warn(
            f"{data.key}: only {data.test_images} test images; one of them is worth "
            f"{100 / data.test_images:.1f} points of accuracy."
        )
    if data.image_size != size:
        _warn(
            f"{data.key}: images of {data.image_size} pixels, those of evaluation_dataset have {size}: the "
            "network sees objects at another scale."
        )
    test, classes = torch.as_tensor(data.splits.test.labels).cpu(), data.splits.train.classes
    if absent := one_sided_classes(test, data.task["num_classes"]):
        names = ", ".join(str(classes[index] if classes else index) for index in absent[:NAMED])
        more = f" and {len(absent) - NAMED} more" if len(absent) > NAMED else ""
        _warn(
            f"{data.key}: the AUC is undefined, because the {data.splits.test_name} split has no image of "
            f"(or no image outside) the classes {names}{more}."
        )


def _warn(message: str) -> None:
    print_log(message, logger="current", level=logging.WARNING)
