import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from ssl_ext.datasets import Digits, digits
from ssl_ext.errors import UserError


def test_splits_partition_the_set_class_by_class():
    sets = [Digits(split, image_size=8, channels=1) for split in ("train", "val", "test")]
    assert [len(data) for data in sets] == [1078, 360, 359]
    for label in range(10):
        counts = np.array([(data.labels == label).sum() for data in sets])
        assert np.abs(counts / counts.sum() - [0.6, 0.2, 0.2]).max() < 0.01
    rows = torch.cat([data.images.flatten(1) for data in sets])
    source = np.rint(load_digits().data * (255 / 16)).astype(np.uint8)
    assert sorted(map(bytes, rows.numpy())) == sorted(map(bytes, source))


def test_labels_stay_with_their_images():
    data = Digits("test", image_size=8, channels=1)
    source = load_digits()
    pixels = np.rint(source.data * (255 / 16)).astype(np.uint8)
    label_of = {bytes(row): int(label) for row, label in zip(pixels, source.target, strict=True)}
    rows = data.images.flatten(1).numpy()
    assert [label_of[bytes(row)] for row in rows] == data.labels.tolist()


def test_the_seed_alone_decides_the_partition():
    first, again, other = (Digits("val", image_size=8, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)


def test_enlarged_images_keep_their_mean_and_channels_are_equal():
    small, large = Digits("val", image_size=8), Digits("val", image_size=32)
    assert large.images.shape == (360, 3, 32, 32)
    assert torch.equal(large.images[:, 0], large.images[:, 2])
    means = [data.images.float().mean((1, 2, 3)) for data in (small, large)]
    assert (means[0] - means[1]).abs().max() < 4
    assert large.images.max() == 255  # overshoots are clipped above and do not wrap around …
    corner = large.images[:, 0, :2, :2].float().mean()
    assert corner < 8  # … nor below: the background is black


def test_without_the_file_scikit_learn_is_asked(monkeypatch):
    read = Digits("val", image_size=8)
    monkeypatch.setattr(digits.Path, "is_file", lambda path: False)
    asked = Digits("val", image_size=8)
    assert torch.equal(read.images, asked.images) and torch.equal(read.labels, asked.labels)
    monkeypatch.setattr(digits, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="Digits needs scikit-learn"):
        Digits("val")


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"split": "dev"}, "'dev'; available: 'train', 'val', 'test'"),
        ({"split": "val", "image_size": 7}, "image_size.*7"),
        ({"split": "val", "channels": 2}, "channels.*2"),
    ],
)
def test_bad_options(kwargs, words):
    with pytest.raises(ValueError, match=words):
        Digits(**kwargs)
