from types import SimpleNamespace

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
