"""Test split drawn from a data set without splits."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from itertools import chain

from ssl_ext.datasets.labels import Labels


def check_test_share(share: float) -> None:
    """Raise ValueError unless the share is between 0 and 1."""
    if not 0 < share < 1:
        raise ValueError(f"dataset.test_share must lie between 0 and 1, got {share}")


def hash_of_name(name: str) -> bytes:
    """SHA-256 of a name's bytes, which need not be UTF-8."""
    return hashlib.sha256(name.encode(errors="surrogateescape")).digest()


def drawn_for_test(units: Sequence[str], labels: Sequence[Labels], share: float) -> set[str]:
    """Units of the test split: about ``share`` of each class, at least one for test and one for training.

    A class of one unit is for training. Units are ordered by a hash of their names, so the choice does not
    depend on their order.

    Args:
        units: for each image its group (patient, lesion, slide), or its file without groups.
        labels: for each image its classes; None: unlabelled, never drawn; empty: no finding.
        share: in (0, 1). A unit counts for the least frequent class of its labelled images.
    """
    # Images without a finding are a class of their own.
    pairs = [
        (u, name) for u, one in zip(units, labels, strict=True) if one is not None for name in one or [""]
    ]
    sizes = Counter(name for _, name in pairs)
    owners: dict[str, str] = {}
    members: dict[str, set[str]] = {}
    for unit, name in sorted(pairs, key=lambda pair: (sizes[pair[1]], pair[1])):
        owners.setdefault(unit, name)
        members.setdefault(name, set()).add(unit)
    classes: dict[str, list[str]] = {}
    for unit in sorted(owners, key=hash_of_name):
        classes.setdefault(owners[unit], []).append(unit)
    drawn = {
        *chain(*(each[: min(max(1, round(share * len(each))), len(each) - 1)] for each in classes.values()))
    }
    # Units of rarer classes may hold all images of a class.
    for name in sorted(members):
        if members[name] <= drawn:
            drawn.remove(max(members[name], key=hash_of_name))
    return drawn
