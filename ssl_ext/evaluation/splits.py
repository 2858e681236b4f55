"""Roles of a data set's splits: training, validation (selection) and test (report only)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Splits:
    """The data sets of one evaluation.

    ``test`` is the reported split, named ``test_name``; None without labelled images. ``val`` is None if
    validation data are held out of ``train`` (:func:`ssl_ext.evaluation.subsets.hold_out`).
    """

    train: Any
    val: Any | None = None
    test: Any = None
    test_name: str = ""

    @property
    def groups(self) -> np.ndarray | None:
        """Groups (patients, lesions, slides) of the training images, or None; groups are never split."""
        return getattr(self.train, "groups", None)

    @property
    def settings(self) -> dict[str, str]:
        """Description of the splits for result rows."""
        if not self.test_name:
            return {"test_split": "none (no labels)", "val_split": "none"}
        held_out = "held out of train" if self.groups is None else "held out of train by group"
        return {
            "test_split": "test" if self.test_name == "test" else "val (the set has no test split)",
            "val_split": held_out if self.val is None else "val",
        }

    def shared_groups(self) -> dict[tuple[str, str], list[str]]:
        """Return the groups with images in two splits, by the names of the two splits."""
        named = {"train": self.train, "val": self.val, self.test_name: self.test}
        groups = {name: getattr(data, "groups", None) for name, data in named.items()}
        known = [(name, group) for name, group in groups.items() if group is not None]
        shared = {(a, b): np.intersect1d(first, second) for (a, first), (b, second) in combinations(known, 2)}
        return {names: found.tolist() for names, found in shared.items() if len(found)}


def load_splits(build: Callable[[str], Any], *, test: bool = True) -> Splits:
    """Build train, validation and test data from ``build(split)``.

    The train split lists all splits in ``available_splits``. Without val, validation data are held out of
    train. Without test, val is reported and validation data are held out of train. ``test=False`` does
    not build the reported split (``Splits.test`` is None).

    Raises:
        ValueError: There is neither test nor val, or a group has images in two splits.
    """
    train = build("train")
    available = tuple(train.available_splits)
    reported = next((split for split in ("test", "val") if split in available), None)
    if reported is None:
        raise ValueError(
            f"evaluation_dataset has the splits {available}: a test or a val split is needed; set "
            "evaluation_dataset.test_share=0.3 to draw one from a folder of class folders, or "
            "evaluation_dataset=None without labels"
        )
    val = build("val") if reported == "test" and "val" in available else None
    splits = Splits(train, val, build(reported) if test else None, reported)
    for (first, second), names in splits.shared_groups().items():
        more = f" (the first of {len(names)})" if len(names) > 1 else ""
        raise ValueError(
            f"the group {names[0]!r}{more} has images both in {first} and in {second}, which inflates "
            f"results on {second}: assign every group (patient, lesion, slide) to one split"
        )
    return splits
