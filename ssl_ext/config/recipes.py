"""Recipes of the evaluation protocols in ``config.evaluation``, checked before any work."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from ssl_ext.errors import UserError, user_errors
from ssl_ext.evaluation import Balance, Recipe, check_knn, check_probe, linear_probe
from ssl_ext.evaluation.results import OWN
from ssl_ext.models import build_augmentation
from ssl_ext.models.evaluated import FLOAT32, PRECISIONS
from ssl_ext.values import is_count

VIEWS = "views"
CROP_AND_FLIP = [dict(type="RandomResizedCrop"), dict(type="RandomHorizontalFlip")]
CUSTOM = "custom"
"""Name of a recipe that a config changes in ``evaluation``."""
STRENGTHS = [1e-4, 1e-3, 1e-2, 1e-1, 1.0]


def _step_decay(lr: float, *milestones: float) -> dict[str, dict[str, Any]]:
    """MoCo's linear classification protocol, on cached features and on augmented images."""
    layer = dict(lr=lr, weight_decay=0.0, milestones=list(milestones))
    return {"linear": layer | dict(solver="sgd"), "linear_aug": layer | dict(augment=CROP_AND_FLIP)}


def _trimix(optimizer: str) -> dict[str, dict[str, Any]]:
    """TriMix's recipe; all settings not listed here are the defaults of :class:`Recipe`."""
    return {
        "linear": dict(solver=optimizer),
        "finetune": dict(optimizer=optimizer, evaluations=10, augment=VIEWS),
    }


RECIPES: dict[str, dict[str, dict[str, Any]]] = {
    OWN: {
        "knn": dict(k=200, temperature=0.1),
        "quality": dict(images=1000, views=10),
        "linear": dict(solver="lbfgs", l2=STRENGTHS),
        "linear_aug": _step_decay(0.1, 0.6, 0.8)["linear_aug"],
        "finetune": dict(
            optimizer="adamw", lr=1e-3, weight_decay=1e-4, batch_size=64, epochs=100, min_steps=1000,
            schedule="cosine", evaluations=10, augment=VIEWS,
        ),
    },
    # Bdair et al., Sec. IV: 1e-3, 1e-6, momentum 0.9, batch 256, 100 epochs; the optimiser is not named.
    "trimix-sgd": _trimix("sgd"),
    "trimix-adam": _trimix("adam"),
    # He et al. 2020, Sec. 4.1, on ImageNet.
    "moco": _step_decay(30.0, 0.6, 0.8),
    # Li et al., AMix, Sec. 4.2: on STL-10 and Tiny ImageNet, and on ImageNet.
    "amix": _step_decay(0.1, 0.3, 0.6),
    "amix-imagenet": _step_decay(30.0, 0.3, 0.6),
    # Zbontar et al. 2021, Sec. 3.1, on ImageNet.
    "barlow-twins": {
        "linear_aug": dict(lr=0.3, schedule="cosine", augment=CROP_AND_FLIP),
    },
    # F. Jiang 2023, Table 3.2, on clean images; the number of epochs is not given. The set-up that it adopts
    # validates trained networks after every second epoch and keeps the best.
    "thesis": {
        "linear": dict(
            solver="adamw", batch_size=64, lr=1e-3, weight_decay=1e-4, milestones=[0.6, 0.8]
        ),
        "finetune": dict(
            optimizer="adam", batch_size=128, lr=1e-3, weight_decay=0.0, evaluations=50, augment=None
        ),
    },
}  # fmt: skip
"""Settings by recipe and protocol; others are the defaults of :class:`Recipe` and ``linear_probe``."""
NOT_IN_RECIPES = {"num_classes", "task", "seed", "keep_epoch", "val_features", "val_labels", "balance"}
LINEAR = {p.name for p in inspect.signature(linear_probe).parameters.values() if p.kind is p.KEYWORD_ONLY}
IMAGES = {field.name for field in fields(Recipe)} - {"key"} | {"augment"}
KEYS: dict[str, set[str]] = {
    "knn": {"k", "temperature", "weights"},
    "linear": LINEAR - NOT_IN_RECIPES,
    "linear_aug": IMAGES,
    "finetune": IMAGES,
    "cluster": {"restarts"},
    "quality": {"images", "views"},
}
CONVERGED = {"solver", "l2", "standardize"}
TRAINED = ("linear", "linear_aug", "finetune")
# Few labels use the recipes of all labels.
NO_LONGER_READ = ("few_labels", "few_labels_finetune")


@dataclass(frozen=True)
class ImageRecipe:
    """Recipe of a network that is trained on images.

    ``augment`` is a list of transforms, ``'views'`` (pretraining's first view) or None (no augmentation).
    """

    recipe: Recipe
    augment: Any


@dataclass(frozen=True)
class Recipes:
    """The recipes of a config or of a paper, ``precision`` of features and ``balance`` of classes.

    A protocol that a paper does not describe is None. ``names`` maps each protocol to the name of its
    recipe: the paper's, ``'own'``, or ``'custom'`` if the config changes it.
    """

    knn: dict[str, Any]
    cluster: dict[str, Any]
    quality: dict[str, int]
    linear: dict[str, Any] | None
    linear_aug: ImageRecipe | None
    finetune: ImageRecipe | None
    precision: str
    names: dict[str, str]
    balance: Balance | None = None


def read_recipes(config: Config, name: str | None = None) -> Recipes:
    """Read and check the recipes of a config, or those of ``name`` in :data:`RECIPES`.

    The config does not change a named recipe: only ``knn``, ``cluster``, ``quality``, ``balance`` and the
    settings of features are then read from ``config.evaluation``.

    Raises:
        UserError: An unknown key or a value out of range.
    """
    given = config.to_dict().get("evaluation") or {}
    _allow("evaluation", given, {"batch_size", "num_workers", "precision", "balance", *KEYS, *NO_LONGER_READ})
    for key in NO_LONGER_READ:
        if key in given:
            print_log(f"evaluation.{key} is ignored: few labels use the recipe of all.", logger="current")
    settings: dict[str, Any] = {}
    names: dict[str, str] = {}
    for key, allowed in KEYS.items():
        changes = given.get(key, {})
        _allow(f"evaluation.{key}", changes, allowed)
        if name is not None and key in TRAINED:
            settings[key], names[key] = RECIPES[name].get(key), name
            continue
        own = RECIPES[OWN].get(key, {})
        if changes.get("solver", own.get("solver")) != own.get("solver"):
            own = {}  # defaults for another solver
        settings[key] = {**own, **changes}
        names[key] = OWN if settings[key] == RECIPES[OWN].get(key, {}) else CUSTOM
    try:
        check_knn(**settings["knn"])
        if settings["linear"] is not None:
            _check_linear(settings["linear"])
        images: dict[str, Any] = {
            key: _image_recipe(key, settings.pop(key)) for key in ("linear_aug", "finetune")
        }
        balance = Balance.of(given.get("balance"))
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
    return Recipes(**settings, **images, precision=precision, names=names, balance=balance)


def _check_linear(settings: dict[str, Any]) -> None:
    key = "evaluation.linear"
    check_probe(key=key, **settings)
    if settings.get("solver") == "lbfgs" and (unused := sorted(set(settings) - CONVERGED)):
        raise ValueError(
            f"{key}.{unused[0]}={settings[unused[0]]!r}: the solver lbfgs accepts only "
            f"{', '.join(sorted(CONVERGED - {'solver'}))}; set another solver"
        )


def _image_recipe(name: str, settings: dict[str, Any] | None) -> ImageRecipe | None:
    if settings is None:
        return None
    settings = dict(settings)
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
