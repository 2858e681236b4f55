"""Which splits of a data set fit, choose and report; what is reported never chooses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Splits:
    """The data sets of one evaluation.

    ``test`` is what is reported, the split ``test_name`` of the set. ``val`` is None when choices are
    made on a part of ``train`` held out by label (:func:`ssl_ext.evaluation.subsets.hold_out`).
    """

    train: Any
    val: Any | None
    test: Any
    test_name: str

    @property
    def settings(self) -> dict[str, str]:
        """What was done, in words, for the result rows."""
        return {
            "test_split": "test" if self.test_name == "test" else "val (the set has no test split)",
            "val_split": "held out of train" if self.val is None else "val",
        }


def load_splits(build: Callable[[str], Any], *, test: bool = True) -> Splits:
    """Build train, validation and test data from ``build(split)``.

    The built train split names its siblings in ``available_splits``. With train, val and test each
    has its own role. Without val, choices fall to a part of train. Without test, val is reported
    and choices fall to a part of train. Raises ValueError when there is neither test nor val.
    With ``test=False`` what would be reported is not built: ``Splits.test`` is None.
    """
    train = build("train")
    available = tuple(train.available_splits)
    reported = next((split for split in ("test", "val") if split in available), None)
    if reported is None:
        raise ValueError(f"evaluation_dataset has the splits {available}: a test or a val split is needed")
    val = build("val") if reported == "test" and "val" in available else None
    return Splits(train, val, build(reported) if test else None, reported)
