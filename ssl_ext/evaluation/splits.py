"""Roles of a data set's splits: training, validation (selection) and test (report only)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Splits:
    """The data sets of one evaluation.

    ``test`` is the reported split, named ``test_name``. ``val`` is None if validation data are held out
    of ``train`` (:func:`ssl_ext.evaluation.subsets.hold_out`).
    """

    train: Any
    val: Any | None
    test: Any
    test_name: str

    @property
    def settings(self) -> dict[str, str]:
        """Description of the splits for result rows."""
        return {
            "test_split": "test" if self.test_name == "test" else "val (the set has no test split)",
            "val_split": "held out of train" if self.val is None else "val",
        }


def load_splits(build: Callable[[str], Any], *, test: bool = True) -> Splits:
    """Build train, validation and test data from ``build(split)``.

    The train split lists all splits in ``available_splits``. Without val, validation data are held out of
    train. Without test, val is reported and validation data are held out of train. ``test=False`` does
    not build the reported split (``Splits.test`` is None). Raises ValueError if there is neither test
    nor val.
    """
    train = build("train")
    available = tuple(train.available_splits)
    reported = next((split for split in ("test", "val") if split in available), None)
    if reported is None:
        raise ValueError(f"evaluation_dataset has the splits {available}: a test or a val split is needed")
    val = build("val") if reported == "test" and "val" in available else None
    return Splits(train, val, build(reported) if test else None, reported)
