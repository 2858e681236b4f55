from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from ssl_ext.evaluation import load_splits


def builder(*available, built):
    def build(split):
        assert split in available
        built.append(split)
        return SimpleNamespace(split=split, available_splits=available)

    return build


@pytest.mark.parametrize(
    ("available", "val", "test"),
    [
        (("train", "val", "test"), "val", "test"),
        (("train", "test"), None, "test"),
        (("train", "unlabeled", "test"), None, "test"),
        (("train", "val"), None, "val"),
    ],
)
def test_roles(available, val, test):
    splits = load_splits(builder(*available, built=[]))
    assert splits.train.split == "train"
    assert (splits.val and splits.val.split) == val
    assert splits.test.split == splits.test_name == test
    assert splits.settings["val_split"] == (val or "held out of train")
    assert ("no test split" in splits.settings["test_split"]) == (test == "val")


def test_each_split_is_built_once_and_what_is_reported_never_chooses():
    for available in (("train", "val", "test"), ("train", "val"), ("train", "test")):
        built = []
        splits = load_splits(builder(*available, built=built))
        assert len(built) == len(set(built))
        assert splits.val is not splits.test


def test_neither_test_nor_val():
    with pytest.raises(ValueError, match="'train',.*test or a val split"):
        load_splits(builder("train", built=[]))


def test_a_group_in_two_splits_is_named():
    def build(split, groups):
        return SimpleNamespace(available_splits=tuple(groups), groups=np.array(groups[split]))

    apart = dict(train=["a", "b"], val=["c"], test=["d"])
    assert load_splits(partial(build, groups=apart)).shared_groups() == {}
    for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
        shared = {**apart, second: [*apart[second], apart[first][0]]}
        with pytest.raises(
            ValueError, match=f"'{apart[first][0]}' has images both in {first} and in {second}"
        ):
            load_splits(partial(build, groups=shared))
    shared = dict(train=["a", "b", "c"], test=["c", "b"])
    with pytest.raises(
        ValueError, match=r"the group 'b' \(the first of 2\) has images both in train and in test"
    ):
        load_splits(partial(build, groups=shared))
    # A split that is not built is not compared.
    splits = load_splits(partial(build, groups=shared), test=False)
    assert splits.settings["val_split"] == "held out of train by group"
