"""Recipes of the evaluation protocols in ``config.evaluation``, checked before any work."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from mmengine.config import Config

from ssl_ext.errors import UserError, user_errors
from ssl_ext.evaluation import Recipe, check_knn, check_probe, linear_probe
from ssl_ext.models import build_augmentation
from ssl_ext.models.evaluated import FLOAT32, PRECISIONS
from ssl_ext.values import is_count

VIEWS = "views"
# Defaults of keys that are missing in a config. With few labels an epoch has only a few steps, so these
# recipes count steps.
DEFAULTS: dict[str, dict[str, Any]] = {
    "knn": {},
    "linear": {},
    "few_labels": dict(solver="lbfgs", l2=[1e-4, 1e-3, 1e-2, 1e-1, 1.0]),
    "linear_aug": dict(
        lr=0.1,
        weight_decay=0.0,
        milestones=[0.6, 0.8],
        augment=[dict(type="RandomResizedCrop"), dict(type="RandomHorizontalFlip")],
    ),
    "finetune": dict(evaluations=10, augment=VIEWS),
    "few_labels_finetune": dict(
        optimizer="adamw", lr=1e-3, weight_decay=1e-4, batch_size=64, steps=1000, schedule="cosine",
        augment=VIEWS,
    ),
    "cluster": {},
    "quality": dict(images=1000, views=10),
}  # fmt: skip
NOT_IN_RECIPES = {"num_classes", "task", "seed", "keep_epoch", "val_features", "val_labels"}
LINEAR = {p.name for p in inspect.signature(linear_probe).parameters.values() if p.kind is p.KEYWORD_ONLY}
IMAGES = {field.name for field in fields(Recipe)} - {"key"} | {"augment"}
KEYS: dict[str, set[str]] = {
    "knn": {"k", "temperature", "weights"},
    "linear": LINEAR - NOT_IN_RECIPES,
    "few_labels": LINEAR - NOT_IN_RECIPES,
    "linear_aug": IMAGES,
    "finetune": IMAGES,
    "few_labels_finetune": IMAGES,
    "cluster": {"restarts"},
    "quality": {"images", "views"},
}


@dataclass(frozen=True)
class ImageRecipe:
    """Recipe of a network that is trained on images.

    ``augment`` is a list of transforms, ``'views'`` (pretraining's first view) or None (no augmentation).
    """

    recipe: Recipe
    augment: Any


@dataclass(frozen=True)
class Recipes:
    """All recipes of a config, with the defaults of :data:`DEFAULTS`, and the ``precision`` of features."""

    knn: dict[str, Any]
    linear: dict[str, Any]
    few_labels: dict[str, Any]
    cluster: dict[str, Any]
    quality: dict[str, int]
    linear_aug: ImageRecipe
    finetune: ImageRecipe
    few_labels_finetune: ImageRecipe
    precision: str


def read_recipes(config: Config) -> Recipes:
    """Read and check the recipes of a config.

    Raises:
        UserError: An unknown key or a value out of range.
    """
    given = config.to_dict().get("evaluation") or {}
    _allow("evaluation", given, {"batch_size", "num_workers", "precision", *KEYS})
    settings: dict[str, Any] = {}
    for name, keys in KEYS.items():
        _allow(f"evaluation.{name}", given.get(name, {}), keys)
        settings[name] = {**DEFAULTS[name], **given.get(name, {})}
    try:
        check_knn(**settings["knn"])
        for name in ("linear", "few_labels"):
            check_probe(key=f"evaluation.{name}", **settings[name])
        images: dict[str, Any] = {
            name: _image_recipe(name, settings.pop(name))
            for name in ("linear_aug", "finetune", "few_labels_finetune")
        }
    except (TypeError, ValueError) as error:
        raise UserError(str(error)) from error
    restarts = settings["cluster"].get("restarts", 1)
    if not is_count(restarts):
        raise UserError(f"evaluation.cluster.restarts={restarts!r}: at least 1 is needed.")
    for name, count in settings["quality"].items():
        if not is_count(count) or count < 2:
            raise UserError(f"evaluation.quality.{name}={count!r}: at least 2 is needed.")
    precision = given.get("precision", FLOAT32)
    if precision not in PRECISIONS:
        raise UserError(f"evaluation.precision={precision!r}: allowed are {', '.join(PRECISIONS)}.")
    return Recipes(**settings, **images, precision=precision)


def _image_recipe(name: str, settings: dict[str, Any]) -> ImageRecipe:
    augment = settings.pop("augment")
    key = f"evaluation.{name}.augment"
    if isinstance(augment, str) and augment != VIEWS:
        raise ValueError(f"{key}={augment!r}: a list of transforms, {VIEWS!r} or None is needed")
    if augment and augment != VIEWS:
        with user_errors(key):
            build_augmentation(augment)
    return ImageRecipe(Recipe(**settings, key=f"evaluation.{name}"), augment)


def _allow(key: str, settings: Any, allowed: set[str]) -> None:
    if not isinstance(settings, Mapping):
        raise UserError(f"{key}={settings!r} must be a dict with the keys {', '.join(sorted(allowed))}.")
    if wrong := sorted(set(settings) - allowed):
        raise UserError(f"{key}.{wrong[0]} is unknown; allowed are {', '.join(sorted(allowed))}.")
