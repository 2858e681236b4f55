"""The data of one evaluation: splits, features, and for each seed held-out rows and label sets."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor
from torch.utils.data import Subset

from ssl_ext.config.build import build_evaluation_splits
from ssl_ext.config.networks import Embedding, pixels
from ssl_ext.errors import UserError, user_errors
from ssl_ext.evaluation import (
    Banks,
    FeatureBank,
    cached_features,
    feature_std,
    fraction_subset,
    hold_out,
    labelled_rows,
    labels_per_class_subset,
    random_subset,
    rankme,
    short_classes,
)


@dataclass(frozen=True)
class LabelSet:
    """Rows of the train split whose labels may be fitted on.

    ``seed`` drew them and is that of what is trained on them. ``short`` tells which classes have
    fewer rows than asked for, and how many. The set called ``all`` is not drawn.
    """

    rows: Tensor
    seed: int
    name: str = "all"
    labels_per_class: int | None = None
    budget: int | None = None
    fraction: float | None = None
    draw: int | None = None
    short: dict[int, int] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether it is all labels."""
        return self.name == "all"

    @property
    def few(self) -> bool:
        """Whether it is a number of labels, for which there are recipes of their own."""
        return not self.whole and self.fraction is None


@dataclass(frozen=True)
class Features:
    """One network's features of every split, and signs of their quality."""

    train: FeatureBank
    val: FeatureBank | None
    test: FeatureBank
    about: dict[str, Any]


class EvaluationData:
    """Splits of ``config.evaluation_dataset`` and the features of a network on them.

    Args:
        config: With ``evaluation_dataset``.
        loading: ``batch_size`` and ``num_workers`` of passes over images.
        cache_dir: Folder of the kept features.
        device: Where features are computed with.
        target: Name of the set, where it is the target of a transfer.

    Raises:
        UserError: The data set cannot be built, has neither a test nor a val split, or fewer than
            two classes.
    """

    def __init__(
        self,
        config: Config,
        *,
        loading: dict[str, int],
        cache_dir: Path,
        device: torch.device,
        target: str | None = None,
    ) -> None:
        self.config, self.loading, self.cache_dir, self.device = config, loading, cache_dir, device
        self.target = target
        self.splits = build_evaluation_splits(config)
        train = self.splits.train
        self.labels = torch.as_tensor(train.labels).cpu()
        self.task: dict[str, Any] = dict(num_classes=train.num_classes, task=train.task)
        self.test_images = int(labelled_rows(torch.as_tensor(self.splits.test.labels)).sum())
        self._check()

    def _check(self) -> None:
        where = f"evaluation_dataset of {self.target}" if self.target else "evaluation_dataset"
        known = self.labels[labelled_rows(self.labels)]
        if not len(known) or not self.test_images:
            split = "train" if not len(known) else self.splits.test_name
            raise UserError(f"{where}: no image of the split {split} is labelled.")
        if len(known.unique(dim=0)) < 2:
            raise UserError(
                f"{where}: all {len(known)} labelled training images are of one class "
                f"({known[0].tolist()}); there is nothing to classify."
            )

    def _bank(self, embedding: Embedding | None, dataset: Any, split: str) -> FeatureBank:
        if embedding is None:
            return cached_features(pixels, dataset, path=None, **self.loading)
        path = embedding.cache_file(self.cache_dir, dataset, split)
        return cached_features(embedding.embed, dataset, path=path, model=embedding.model, **self.loading)

    def features(self, embedding: Embedding | None) -> Features:
        """Features of all splits (raw pixels without an embedding), each image embedded once."""
        train = self._bank(embedding, self.splits.train, "train")
        val = None if self.splits.val is None else self._bank(embedding, self.splits.val, "val").labelled()
        test = self._bank(embedding, self.splits.test, self.splits.test_name).labelled()
        about = {
            "dim": train.features.shape[1],
            "rankme": rankme(train.features.to(self.device)),
            "feature_std": feature_std(train.features),
            "feature_std_uniform": train.features.shape[1] ** -0.5,
            **train.meta,
        }
        return Features(train, val, test, about)


class SeededData:
    """The rows of a data set that one seed holds out and draws; the same in every process.

    Where the set has no validation split a seeded part of the training rows is held out for choices,
    and label sets are drawn from the others.

    Raises:
        UserError: No class has two labelled rows, so that nothing can be held out.
    """

    def __init__(self, data: EvaluationData, seed: int) -> None:
        self.data, self.seed = data, seed
        self.held_rows: Tensor | None = None
        self.fit_rows = labelled_rows(data.labels).nonzero()[:, 0]
        if data.splits.val is None:
            with user_errors("evaluation_dataset"):
                self.fit_rows, self.held_rows = hold_out(data.labels, seed=seed)
        self.labels = data.labels[self.fit_rows]

    @property
    def val(self) -> Any:
        """The validation images: a split of their own, or rows held out of train."""
        if self.held_rows is None:
            return self.data.splits.val
        return Subset(self.data.splits.train, self.held_rows.tolist())

    @property
    def all(self) -> LabelSet:
        """All labels, but for held-out ones."""
        return LabelSet(self.fit_rows, self.seed)

    def _draw_seed(self, draw: int) -> int:
        # Draws of one seed are those of no other.
        return 1000 * self.seed + draw

    def per_class(self, n: int, draws: int) -> list[LabelSet]:
        """Draws of ``n`` labels of each class."""
        short = short_classes(self.labels, n)
        return [
            LabelSet(
                self.fit_rows[labels_per_class_subset(self.labels, n, seed=self._draw_seed(draw))],
                self._draw_seed(draw),
                f"per-class-{n}_seed-{self.seed}_draw-{draw}",
                labels_per_class=n,
                draw=draw,
                short=short,
            )
            for draw in range(draws)
        ]

    def random(self, budget: int | str, draws: int) -> list[LabelSet]:
        """Draws of a number of labels whatever their class, or ``'all'``."""
        if isinstance(budget, str):
            return [self.all]
        return [
            LabelSet(
                self.fit_rows[random_subset(self.labels, budget, seed=self._draw_seed(draw))],
                self._draw_seed(draw),
                f"random-{budget}_seed-{self.seed}_draw-{draw}",
                budget=budget,
                draw=draw,
            )
            for draw in range(draws)
        ]

    def fraction(self, share: float) -> LabelSet:
        """A share of the labels of each class; 1 is all of them."""
        if share == 1:
            return LabelSet(self.fit_rows, self.seed, fraction=share)
        rows = self.fit_rows[fraction_subset(self.labels, share, seed=self.seed)]
        return LabelSet(rows, self.seed, f"fraction-{share:g}_seed-{self.seed}", fraction=share)

    def banks(self, features: Features, labels: LabelSet) -> Banks:
        """Features in their roles, on the device; all labels serve the final fit as well."""
        device = self.data.device
        fit, test = features.train.select(labels.rows).to(device), features.test.to(device)
        if self.held_rows is None:
            assert features.val is not None
            return Banks(fit, features.val.to(device), test)
        held = features.train.select(self.held_rows).to(device)
        return Banks(fit, held, test, final=features.train.labelled().to(device) if labels.whole else None)

    def sizes(self, labels: LabelSet) -> dict[str, int]:
        """Labelled images that are trained on, chosen with and reported."""
        val = len(self.held_rows) if self.held_rows is not None else None
        if val is None:
            val = int(labelled_rows(torch.as_tensor(self.data.splits.val.labels)).sum())
        return {"train": len(labels.rows), "val": val, "test": self.data.test_images}
