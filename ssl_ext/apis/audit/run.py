"""Audit the data sets of a config."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.config import Config

from ssl_ext.apis.evaluate.draws import drawn_rows
from ssl_ext.apis.evaluate.plan import Labels
from ssl_ext.config.data import build_dataset, loading_settings
from ssl_ext.config.load import load_config
from ssl_ext.datasets.contents import Contents, image_contents
from ssl_ext.errors import UserError, user_errors
from ssl_ext.evaluation import labelled_rows
from ssl_ext.evaluation.class_counts import class_counts

from .findings import PRETRAINING, Findings
from .report import Audit, Part

SPLITS = ("train", "val", "test")


def audit(
    config: Config | str | os.PathLike,
    *,
    budgets: Sequence[int] = (),
    labels_per_class: Sequence[int] = (),
    seed: int = 0,
    options: dict | None = None,
) -> Audit:
    """Audit the splits of ``evaluation_dataset``, and the pretraining data if they differ from train.

    Problems: a group (patient, lesion, slide) or an image in two splits; duplicate images with different
    labels; a class without images in a labelled split; an unreadable file. Notes: pretraining on images of
    val or test; duplicates within a split; images of one colour; grey images with three channels; no groups.
    Duplicates have identical pixels; images of :class:`ssl_ext.datasets.FileDataset` are compared before
    resizing.

    Args:
        config: A config with ``evaluation_dataset`` or ``train_dataloader.dataset``.
        budgets: Numbers of labels, whose first draw in an evaluation is counted by class.
        labels_per_class: Numbers of labels per class, likewise.
        seed: Seed of these draws.
        options: Config keys to override.

    Raises:
        UserError: The config has no data set, a data set cannot be built, none of its images can be read, or
            a number of labels that cannot be drawn.
    """
    config = load_config(config, options)
    data = dict(_data_sets(config))
    if not data:
        raise UserError("The config has neither evaluation_dataset nor train_dataloader.dataset to audit.")
    workers = loading_settings(config)["num_workers"]
    contents = {name: image_contents(one, num_workers=workers, words=name) for name, one in data.items()}
    for name, one in contents.items():
        if len(one.unreadable) == len(one.digests):
            raise UserError(f"No image of {name} can be read: {one.unreadable[0]}")
    parts = {name: _part(dataset, contents[name]) for name, dataset in data.items()}
    found = Findings(data, contents, parts)
    drawn = {}
    if budgets or labels_per_class:
        if "train" not in data:
            raise UserError("Labels are drawn from evaluation_dataset, which the config lacks.")
        drawn = dict(_drawn(data["train"], budgets, labels_per_class, seed))
    return Audit(parts, found.shared_groups(), found.duplicates(), found.problems(), found.notes(), drawn)


def _drawn(
    train: Any, budgets: Sequence[int], labels_per_class: Sequence[int], seed: int
) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield the words and class counts of the first draw of each number of labels."""
    labels = torch.as_tensor(train.labels).cpu()
    draws = [Labels(seed, budget=n, draw=0) for n in budgets]
    draws += [Labels(seed, per_class=n, draw=0) for n in labels_per_class]
    for one in draws:
        words = f"{one.budget} labels" if one.per_class is None else f"{one.per_class} labels/class"
        with user_errors(words):
            rows = drawn_rows(labels, one)
        yield words, _class_counts(train, labels[rows])


def _class_counts(dataset: Any, labels: torch.Tensor) -> dict[str, int]:
    """Number of images of each class by name, for labels of labelled images."""
    counts = class_counts(labels, getattr(dataset, "num_classes", 0))
    names = getattr(dataset, "classes", None) or map(str, range(len(counts)))
    return dict(zip(names, counts, strict=True))


def _data_sets(config: Config) -> Iterator[tuple[str, Any]]:
    """Yield the names and data sets of a config."""
    settings = config.get("evaluation_dataset")
    if settings is not None:
        train = build_dataset("evaluation_dataset", dict(settings, split="train"))
        yield "train", train
        for split in SPLITS[1:]:
            if split in train.available_splits:
                yield split, build_dataset("evaluation_dataset", dict(settings, split=split))
    pretraining = (config.get("train_dataloader") or {}).get("dataset")
    known = None if settings is None else dict(settings, split="train")
    if pretraining is not None and dict(pretraining) != known:
        yield PRETRAINING, build_dataset("train_dataloader.dataset", pretraining)


def _part(dataset: Any, contents: Contents) -> Part:
    labels = torch.as_tensor(getattr(dataset, "labels", [-1] * len(dataset))).cpu()
    known = labels[labelled_rows(labels)]
    groups = getattr(dataset, "groups", None)
    sizes = contents.sizes[~np.isnan(contents.sizes).any(1)].astype(int)
    areas = sizes.prod(1)
    return Part(
        len(labels),
        len(known),
        None if groups is None else len(set(groups)),
        _class_counts(dataset, known) if len(known) else {},
        contents.means.shape[1],
        contents.mean,
        contents.std,
        {
            "smallest": sizes[areas.argmin()].tolist(),
            "largest": sizes[areas.argmax()].tolist(),
            "different": len(np.unique(sizes, axis=0)),
        },
    )
