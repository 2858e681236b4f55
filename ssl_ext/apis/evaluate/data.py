"""Data of an evaluation: splits, and features of networks on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor
from torch.utils.data import Subset

from ssl_ext.config.data import build_evaluation_splits, loading_settings
from ssl_ext.errors import UserError
from ssl_ext.evaluation import (
    Banks,
    FeatureBank,
    batches,
    cached_features,
    feature_std,
    labelled_rows,
    rankme,
    short_classes,
)
from ssl_ext.models.evaluated import FLOAT32, EvaluatedModel

from .checks import check_data
from .draws import Rows, rows_of
from .plan import Labels


@dataclass(frozen=True)
class Features:
    """Features of every split (those of test are None without labels).

    ``about``: their size, spread and effective rank.

    ``settings`` are the precision and its measured error, empty for float32.
    """

    train: FeatureBank
    val: FeatureBank | None
    test: FeatureBank | None
    about: dict[str, Any]
    settings: dict[str, Any]


class EvaluationData:
    """Splits of ``config.evaluation_dataset`` and features of networks on them.

    Args:
        config: Config with ``evaluation_dataset``, or with ``train_dataloader`` if no labels are needed.
        loading: ``batch_size`` and ``num_workers`` for reading images.
        cache_dir: Folder of cached features.
        device: Device for computing features.
        target: Name of the data set, if it is the target of a transfer.

    Raises:
        UserError: The data set cannot be built, has neither a test nor a val split, or fewer than
            two classes.
    """

    def __init__(
        self,
        config: Config,
        *,
        loading: dict[str, Any],
        cache_dir: Path,
        device: torch.device,
        target: str | None = None,
    ) -> None:
        self.config, self.loading, self.cache_dir, self.device = config, loading, cache_dir, device
        self.key = f"--transfer-to {target}" if target else "evaluation_dataset"
        self.splits = build_evaluation_splits(config)
        train = self.splits.train
        self.labels = torch.as_tensor(train.labels).cpu()
        self.task: dict[str, Any] = dict(num_classes=train.num_classes, task=train.task)
        self._seeded: dict[int, SeededData] = {}
        if self.splits.test is None:
            return
        self.test_images = int(labelled_rows(torch.as_tensor(self.splits.test.labels)).sum())
        val = self.splits.val
        self.val_images = 0 if val is None else int(labelled_rows(torch.as_tensor(val.labels)).sum())
        known = self.labels[labelled_rows(self.labels)]
        if not len(known) or not self.test_images:
            split = "train" if not len(known) else self.splits.test_name
            raise UserError(f"{self.key}: no image of the split {split} is labelled.")
        if len(known.unique(dim=0)) < 2:
            only = known[0].tolist() if known.ndim == 2 or not train.classes else train.classes[known[0]]
            raise UserError(
                f"{self.key}: all {len(known)} labelled training images are of one class ({only}); there is "
                "nothing to classify."
            )

    @property
    def dataset(self) -> Any:
        """Settings of the data set."""
        config = self.config.to_dict()
        return config.get("evaluation_dataset") or config["train_dataloader"]["dataset"]

    @property
    def image_size(self) -> tuple[int, ...]:
        """Height and width of the images."""
        return tuple(self.splits.train[0]["inputs"].shape[1:])

    def seeded(self, seed: int) -> SeededData:
        """Held-out rows and label draws of a seed."""
        if seed not in self._seeded:
            self._seeded[seed] = SeededData(self, seed)
        return self._seeded[seed]

    def features(self, network: EvaluatedModel | None) -> Features:
        """Features of all splits, each image embedded once; raw pixels without a network."""
        train = self.bank(network, self.splits.train, "train")
        val = None if self.splits.val is None else self.bank(network, self.splits.val, "val").labelled()
        test = None
        if self.splits.test is not None:
            test = self.bank(network, self.splits.test, self.splits.test_name).labelled()
        about = {
            "dim": train.features.shape[1],
            "rankme": rankme(train.features.to(self.device)),
            "feature_std": feature_std(train.features),
            "feature_std_uniform": train.features.shape[1] ** -0.5,
            **train.meta,
        }
        return Features(train, val, test, about, self._precision(network))

    def _precision(self, network: EvaluatedModel | None) -> dict[str, Any]:
        """A precision below float32, and its relative error on the first batch of the test split."""
        if network is None or network.precision == FLOAT32:
            return {}
        images = next(batches(self.splits.test or self.splits.train, None, **self.loading))["inputs"]
        return {"precision": network.precision, "precision_error": network.relative_error(images)}

    def bank(self, network: EvaluatedModel | None, dataset: Any, split: str) -> FeatureBank:
        """Features of a split; raw pixels without a network."""
        reading: dict[str, Any] = dict(self.loading, words=f"features of {split}")
        if network is None:
            return cached_features(_pixels, dataset, path=None, model=None, **reading)
        path = network.cache_file(self.cache_dir, dataset, split)
        return cached_features(network.embed, dataset, path=path, model=network.model, **reading)


class SeededData:
    """Rows drawn and held out by one seed (:func:`rows_of`); equal in all processes."""

    def __init__(self, data: EvaluationData, seed: int) -> None:
        self.data = data
        self._rows: dict[Labels, Rows] = {}
        self.rows(Labels(seed))

    def rows(self, labels: Labels) -> Rows:
        """Return the rows used with a set of labels."""
        if labels not in self._rows:
            self._rows[labels] = rows_of(self.data.labels, labels, self.data.splits)
        return self._rows[labels]

    def val(self, labels: Labels) -> Any:
        """Return the validation images: the validation split, or rows held out of train."""
        held = self.rows(labels).held
        return self.data.splits.val if held is None else Subset(self.data.splits.train, held.tolist())

    def val_groups(self, labels: Labels) -> int | None:
        """Return the number of groups of the labelled validation images; None without groups."""
        held, splits = self.rows(labels).held, self.data.splits
        split = splits.train if held is not None else splits.val
        if split is None or (groups := getattr(split, "groups", None)) is None:
            return None
        known = labelled_rows(torch.as_tensor(split.labels).cpu()).nonzero()[:, 0] if held is None else held
        return len(np.unique(np.asarray(groups)[known.numpy()]))

    def short_classes(self, labels: Labels) -> dict[int, int]:
        """Return the classes with fewer rows (or groups) than ``labels.per_class``, and their counts."""
        if labels.per_class is None:
            return {}
        groups = self.data.splits.groups if labels.by_group else None
        return short_classes(self.data.labels, labels.per_class, groups=groups)

    def banks(self, features: Features, labels: Labels) -> Banks:
        """Return the features for fitting, selection and reporting, on the device."""
        device, rows = self.data.device, self.rows(labels)
        assert features.test is not None
        fit, test = features.train.select(rows.fit).to(device), features.test.to(device)
        if rows.held is None:
            assert features.val is not None
            return Banks(fit, features.val.to(device), test)
        held = features.train.select(rows.held).to(device)
        final = features.train.select(rows.trained).to(device) if rows.refit else None
        return Banks(fit, held, test, final)

    def sizes(self, labels: Labels) -> dict[str, int]:
        """Numbers of labelled images that are trained on, chosen with and reported."""
        rows = self.rows(labels)
        val = self.data.val_images if rows.held is None else len(rows.held)
        return {"train": len(rows.trained), "val": val, "test": self.data.test_images}


def load_data(
    configs: dict[str | None, Config], network: EvaluatedModel, cache_dir: Path, seeds: Sequence[int]
) -> dict[str | None, EvaluationData]:
    """Load the data of the config (key None) and of each transfer target, and check them with the network.

    Raises:
        UserError: Unsuitable data, or images that the network does not accept.
    """
    device = next(network.parameters()).device
    loading = loading_settings(configs[None])
    data = {
        target: EvaluationData(config, loading=loading, cache_dir=cache_dir, device=device, target=target)
        for target, config in configs.items()
    }
    for one in data.values():
        check_data(one.key, one.splits, network, data[None].image_size)
        for seed in seeds:
            one.seeded(seed)
    return data


def _pixels(images: Tensor) -> Tensor:
    """Raw pixels in [0, 1] as features: (N, C, H, W) uint8 to (N, C·H·W)."""
    return images.flatten(1).float() / 255
