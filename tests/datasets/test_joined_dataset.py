import numpy as np
import pytest
import torch
from PIL import Image

from ssl_ext.registry import DATASETS


@pytest.fixture
def sets(tmp_path):
    """Three constant images of 6 px with labels, and two unlabelled ones."""
    images = np.stack([np.full((6, 6, 3), value, np.uint8) for value in (1, 2, 3)])
    np.savez(tmp_path / "a.npz", x_train=images, y_train=np.array([0, 1, 0]))
    np.savez(tmp_path / "b.npz", x_train=images[:2] + 10)
    return [dict(type="NPZDataset", split="train", data_root=str(tmp_path / f"{n}.npz")) for n in "ab"]


def joined(datasets, **options):
    return DATASETS.build(dict(type="JoinedDataset", datasets=datasets, **options))


def test_images_of_all_sets_in_their_order_without_labels(sets):
    data = joined(sets)
    assert data.images.shape == (5, 3, 6, 6)
    assert data.images[:, 0, 0, 0].tolist() == [1, 2, 3, 11, 12]
    assert data.labels.tolist() == [-1] * 5 and data.num_classes == 0
    batch = data.__getitems__([4, 0])
    assert batch["inputs"][:, 0, 0, 0].tolist() == [12, 1] and batch["indices"].tolist() == [4, 0]


def test_sets_can_be_named_again_and_stay_as_they_were(sets):
    data = joined([*sets, sets[0]], device="cpu")
    assert torch.equal(data.images[:3], data.images[5:]) and len(data) == 8
    assert sets[0]["type"] == "NPZDataset"


def test_sets_that_cannot_be_joined_are_named(sets, tmp_path):
    with pytest.raises(ValueError, match="at least two sets, got 1"):
        joined(sets[:1])
    np.savez(tmp_path / "large.npz", x_train=np.zeros((2, 8, 8, 3), np.uint8))
    large = dict(type="NPZDataset", split="train", data_root=str(tmp_path / "large.npz"))
    with pytest.raises(ValueError, match=r"datasets\[1\] \(NPZDataset\) has images of \(3, 8, 8\) pixels"):
        joined([sets[0], large])
    Image.new("RGB", (6, 6)).save(tmp_path / "a.png")
    files = dict(type="FolderDataset", data_root=str(tmp_path), image_size=6)
    with pytest.raises(ValueError, match=r"datasets\[1\] \(FolderDataset\) does not keep"):
        joined([sets[0], files])
