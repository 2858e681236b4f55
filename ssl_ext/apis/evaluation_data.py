"""The data of one evaluation: splits, rows held out for choices, draws of few labels, features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor
from torch.utils.data import Subset

from ssl_ext.errors import user_errors
from ssl_ext.evaluation import (
    Banks,
    FeatureBank,
    batches,
    cached_features,
    feature_std,
    hold_out,
    labelled_rows,
    labels_per_class_subset,
    rankme,
)

from .build import build_evaluation_splits
from .evaluation_network import Embedding, pixels


@dataclass(frozen=True)
class FewLabels:
    """One draw: so many labels of each class, which draw, and the rows among those to fit on."""

    per_class: int
    draw: int
    rows: Tensor


class EvaluationData:
    """Splits of ``config.evaluation_dataset`` and what is computed from them.

    Args:
        config: With ``evaluation_dataset``, and maybe ``evaluation.batch_size`` / ``num_workers``.
        cache_dir: Folder of the kept features.
        seed: Of the held-out rows and of the draws.
        device: Where banks are put.

    Raises:
        UserError: The data set cannot be built, or has neither a test nor a val split.
    """

    def __init__(self, config: Config, *, cache_dir: Path, seed: int, device: torch.device) -> None:
        self.cache_dir, self.seed, self.device = cache_dir, seed, device
        evaluation = config.get("evaluation", {})
        self.loading = dict(
            batch_size=evaluation.get("batch_size", 512), num_workers=evaluation.get("num_workers", 0)
        )
        self.splits = build_evaluation_splits(config)
        with user_errors("evaluation_dataset"):
            train = self.splits.train
            self.labels = torch.as_tensor(train.labels).cpu()
            self.task: dict[str, Any] = dict(num_classes=train.num_classes, task=train.task)
            self.held_rows: Tensor | None = None
            if self.splits.val is None:
                self.fit_rows, self.held_rows = hold_out(self.labels, seed=seed)
            else:
                self.fit_rows = labelled_rows(self.labels).nonzero()[:, 0]

    @property
    def val(self) -> Any:
        """The validation images: a split of their own, or rows held out of train."""
        if self.held_rows is None:
            return self.splits.val
        return Subset(self.splits.train, self.held_rows.tolist())

    def draws(self, labels_per_class: Sequence[int], draws: int) -> list[FewLabels]:
        """The draws of few labels, the same for every method and in every process."""
        labels = self.labels[self.fit_rows]
        return [
            FewLabels(n, draw, labels_per_class_subset(labels, n, seed=self.seed + draw))
            for n in labels_per_class
            for draw in range(draws)
        ]

    def images(self, few: FewLabels) -> tuple[Tensor, Tensor]:
        """Uint8 images and labels of a draw."""
        rows = self.fit_rows[few.rows]
        batch = next(batches(self.splits.train, rows, batch_size=len(rows)))
        return batch["inputs"], batch["labels"]

    def _bank(self, embedding: Embedding | None, dataset: Any, split: str) -> FeatureBank:
        if embedding is None:
            return cached_features(pixels, dataset, path=None, **self.loading)
        path = embedding.cache_file(self.cache_dir, dataset, split)
        return cached_features(embedding.embed, dataset, path=path, model=embedding.model, **self.loading)

    def banks(self, embedding: Embedding | None) -> tuple[Banks, dict[str, Any]]:
        """Features of all splits (raw pixels without an embedding), and signs of their quality."""
        train = self._bank(embedding, self.splits.train, "train")
        test = self._bank(embedding, self.splits.test, self.splits.test_name).labelled().to(self.device)
        about = {
            "dim": train.features.shape[1],
            "rankme": rankme(train.features.to(self.device)),
            "feature_std": feature_std(train.features),
            "feature_std_uniform": train.features.shape[1] ** -0.5,
            **train.meta,
        }
        fit = train.select(self.fit_rows).to(self.device)
        if self.held_rows is None:
            val = self._bank(embedding, self.splits.val, "val").labelled()
            return Banks(fit, val.to(self.device), test), about
        held = train.select(self.held_rows).to(self.device)
        return Banks(fit, held, test, final=train.labelled().to(self.device)), about
