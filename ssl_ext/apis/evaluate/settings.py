"""What an evaluation is asked to do, and its recipes; both are checked before any work."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from mmengine.config import Config

from ssl_ext.errors import UserError, user_errors
from ssl_ext.evaluation import Recipe, check_knn, check_probe, linear_probe
from ssl_ext.models import build_augmentation
from ssl_ext.names import BASELINES, BUDGETS, FRACTIONS, MODES, PROTOCOLS
from ssl_ext.values import is_count

MAX_DRAWS = 1000

VIEWS = "views"
# Keys that a config does not give. A recipe counted in epochs would take a handful of steps on a
# hundred images, so few labels have recipes of their own.
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
}


@dataclass(frozen=True)
class Request:
    """Protocols, labels, modes, baselines and seeds of an evaluation, each named once.

    Raises:
        UserError: An unknown name, a number out of range, or options that no protocol reads.
    """

    protocols: Sequence[str]
    labels_per_class: Sequence[int]
    budgets: Sequence[int | str]
    fractions: Sequence[float]
    transfer_to: Sequence[Any]
    modes: Sequence[str]
    draws: int
    baselines: Sequence[str]
    seeds: Sequence[int]

    def __post_init__(self) -> None:
        for name in ("protocols", "labels_per_class", "budgets", "fractions", "modes", "baselines", "seeds"):
            object.__setattr__(self, name, tuple(dict.fromkeys(getattr(self, name))))
        for what, allowed in (("protocols", PROTOCOLS), ("baselines", BASELINES), ("modes", MODES)):
            if wrong := [str(name) for name in getattr(self, what) if name not in allowed]:
                raise UserError(f"{what}: {', '.join(wrong)} unknown; allowed are {', '.join(allowed)}.")
        self._check_numbers()
        self._check_readers()

    def _check_numbers(self) -> None:
        if not 1 <= self.draws <= MAX_DRAWS or any(n < 1 for n in self.labels_per_class):
            raise UserError(
                f"draws={self.draws}, labels_per_class={list(self.labels_per_class)}: all must be at least "
                f"1, and draws at most {MAX_DRAWS}."
            )
        if wrong := [n for n in self.budgets if n != "all" and (isinstance(n, str) or n < 1)]:
            raise UserError(f"budgets: {wrong[0]!r} is neither a number of labels nor 'all'.")
        if wrong := [f for f in self.fractions if not 0 < f <= 1]:
            raise UserError(f"fractions: {wrong[0]} is not a share above 0, up to 1 (all labels).")
        if not self.modes:
            raise UserError(f"modes: give at least one of {', '.join(MODES)}.")
        if not self.seeds or not all(0 <= seed < 2**32 for seed in self.seeds):
            raise UserError(f"seeds={list(self.seeds)}: one or more numbers from 0 to 2**32 - 1 are needed.")

    def _check_readers(self) -> None:
        readers = (("budgets", "budget"), ("fractions", "semi"), ("transfer_to", "transfer"))
        for option, protocol in readers:
            if getattr(self, option) and protocol not in self.protocols:
                switch = f"--{option.replace('_', '-')}"
                raise UserError(f"{switch} is for the protocol {protocol}: add it to --protocols.")
        if "transfer" in self.protocols and not self.transfer_to:
            raise UserError(
                "The protocol transfer needs --transfer-to CONFIG, a config with evaluation_dataset."
            )
        if not self.protocols and not self.labels_per_class:
            raise UserError("Nothing to evaluate: give --protocols or --labels-per-class.")
        trained = {"finetune", "semi", "budget", "transfer", "supervised"}
        if "supervised" in self.baselines and not (self.labels_per_class or trained & set(self.protocols)):
            raise UserError(
                "The baseline supervised is trained on the labels that others are: give --labels-per-class, "
                f"or one of the protocols {', '.join(sorted(trained))}."
            )

    @property
    def asked_budgets(self) -> Sequence[int | str]:
        """Budgets of labels drawn at random; the usual ones where the user names no labels at all."""
        if "budget" not in self.protocols:
            return ()
        return self.budgets or (() if self.labels_per_class else BUDGETS)

    @property
    def asked_fractions(self) -> Sequence[float]:
        """Shares of the labels of every class."""
        return (self.fractions or FRACTIONS) if "semi" in self.protocols else ()


@dataclass(frozen=True)
class ImageRecipe:
    """A recipe of what is trained on images.

    ``augment`` is a list of transforms, ``'views'`` (pretraining's first view) or None (clean images).
    """

    recipe: Recipe
    augment: Any


@dataclass(frozen=True)
class Recipes:
    """The recipes of ``config.evaluation``, completed by :data:`DEFAULTS`."""

    knn: dict[str, Any]
    linear: dict[str, Any]
    few_labels: dict[str, Any]
    cluster: dict[str, Any]
    linear_aug: ImageRecipe
    finetune: ImageRecipe
    few_labels_finetune: ImageRecipe


def read_recipes(config: Config) -> Recipes:
    """The recipes of a config.

    Raises:
        UserError: An unknown name or a value out of range.
    """
    given = config.to_dict().get("evaluation") or {}
    _allow("evaluation", given, {"batch_size", "num_workers", *KEYS})
    settings = {}
    for name, keys in KEYS.items():
        _allow(f"evaluation.{name}", given.get(name, {}), keys)
        settings[name] = {**DEFAULTS[name], **given.get(name, {})}
    try:
        check_knn(**settings["knn"])
        for name in ("linear", "few_labels"):
            check_probe(key=f"evaluation.{name}", **settings[name])
        images = {
            name: _image_recipe(name, settings.pop(name))
            for name in ("linear_aug", "finetune", "few_labels_finetune")
        }
    except (TypeError, ValueError) as error:
        raise UserError(str(error)) from error
    restarts = settings["cluster"].get("restarts", 1)
    if not is_count(restarts):
        raise UserError(f"evaluation.cluster.restarts={restarts!r}: at least 1 is needed.")
    return Recipes(**settings, **images)


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
        raise UserError(f"{key}={settings!r} must be a dict with keys out of {', '.join(sorted(allowed))}.")
    if wrong := sorted(set(settings) - allowed):
        raise UserError(f"{key}.{wrong[0]} is unknown; allowed are {', '.join(sorted(allowed))}.")
