"""Test split drawn from a data set without splits."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from itertools import chain


def check_test_share(share: float) -> None:
    """Raise ValueError unless the share is between 0 and 1."""
    if not 0 < share < 1:
        raise ValueError(f"dataset.test_share must lie between 0 and 1, got {share}")


def hash_of_name(name: str) -> bytes:
    """SHA-256 of a name's bytes, which need not be UTF-8."""
    return hashlib.sha256(name.encode(errors="surrogateescape")).digest()


def drawn_for_test(units: Sequence[str], labels: Sequence[str], share: float) -> set[str]:
    """Units of the test split: about ``share`` of each class, at least one for test and one for training.

    A class of one unit is for training.

    Units are ordered by a hash of their names, so the choice does not depend on their order.

    Args:
        units: for each image its group (patient, lesion, slide), or its file without groups.
        labels: for each image its class; empty: unlabelled, never drawn.
        share: in (0, 1). A unit counts for the least frequent class of its labelled images.
    """
    sizes = Counter(label for label in labels if label)
    owners: dict[str, str] = {}
    for unit, label in sorted(zip(units, labels, strict=True), key=lambda pair: (sizes[pair[1]], pair[1])):
        if label:
            owners.setdefault(unit, label)
    classes: dict[str, list[str]] = {}
    for unit in sorted(owners, key=hash_of_name):
        classes.setdefault(owners[unit], []).append(unit)
    return {
        *chain(*(each[: min(max(1, round(share * len(each))), len(each) - 1)] for each in classes.values()))
    }
