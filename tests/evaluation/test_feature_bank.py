import hashlib
import json
import logging

import numpy as np
import pytest
import torch
from torch import nn

from ssl_ext.datasets.decode import Reading
from ssl_ext.evaluation import (
    FeatureBank,
    cache_key,
    cached_features,
    dataset_fingerprint,
    weights_fingerprint,
)


class Images:
    def __init__(self, count=12):
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randint(256, (count, 1, 4, 4), generator=generator, dtype=torch.uint8)
        self.labels = torch.arange(count) % 3
        self.metainfo = {"split": "train"}

    def __len__(self):
        return len(self.images)

    def __getitems__(self, rows):
        return dict(inputs=self.images[rows], labels=self.labels[rows])


class Files:
    def __init__(self, files, image_size=8, reading=None):
        self.files, self.labels, self.image_size = files, torch.zeros(len(files)), image_size
        self.reading = reading

    def __len__(self):
        return len(self.files)


class Counted:
    def __init__(self):
        self.calls = 0

    def __call__(self, images):
        self.calls += 1
        return images.flatten(1).float()


def net(**options):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3, **options), nn.BatchNorm2d(2))


def test_the_key_follows_weights_buffers_layout_data_and_preprocessing(tmp_path):
    keys = set()

    def key(module=None, dataset=None, preprocessing=(0.5,)):
        data = dataset_fingerprint(dataset or Images())
        return cache_key(weights_fingerprint(module or net()), data, preprocessing)

    assert key() == key()
    keys.add(key())
    weight, buffer = net(), net()
    weight[0].weight.data[0, 0, 0, 0] += 1e-6
    buffer[1].running_mean[0] = 1e-6
    keys |= {key(weight), key(buffer), key(net(stride=2))}
    pixel, label, split = Images(), Images(), Images()
    pixel.images[3, 0, 1, 1] ^= 1
    label.labels[0] = 2
    split.metainfo = {"split": "val"}
    keys |= {key(dataset=pixel), key(dataset=label), key(dataset=split), key(preprocessing=(0.4,))}
    grouped = Images()
    for names in ("a" * 12, "a" * 11 + "b"):
        grouped.groups = np.array(list(names))
        keys.add(key(dataset=grouped))
    file = tmp_path / "a.png"
    file.write_bytes(b"1")
    keys.add(key(dataset=Files([file])))
    keys.add(key(dataset=Files([file], image_size=16)))
    keys |= {key(dataset=Files([file], reading=reading)) for reading in (Reading(), Reading(frame=1))}
    file.write_bytes(b"12")
    keys.add(key(dataset=Files([file])))
    assert len(keys) == 15


def test_a_data_set_that_cannot_be_told_apart_is_not_fingerprinted():
    assert dataset_fingerprint([1, 2, 3]) is None


def test_features_are_computed_once(tmp_path):
    embed, path = Counted(), tmp_path / "cache" / "train.npz"
    first = cached_features(embed, Images(), path=path)
    again = cached_features(embed, Images(), path=path)
    assert embed.calls == 1
    assert torch.equal(first.features, again.features)
    assert torch.equal(first.labels, again.labels)
    assert again.meta == {**first.meta, "cached": True}
    assert [file.name for file in path.parent.iterdir()] == ["train.npz"]


@pytest.mark.parametrize(
    "damage",
    ["cut", "flip", "empty", "pickle", "doubles", "flat", "nan", "list", "other-rows", "other-numbers"],
)
def test_a_damaged_file_is_passed_over_and_written_anew(damage, tmp_path, caplog):
    embed, path = Counted(), tmp_path / "train.npz"
    whole = cached_features(embed, Images(), path=path)
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flip":
        place = len(content) // 4
        path.write_bytes(content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "pickle":
        path.write_bytes(b"\x80\x04N.")
    elif damage == "other-rows":
        whole.select(torch.arange(5)).save(path)
    else:
        arrays = dict(np.load(path))
        other = arrays["features"] + 1
        other = dict(doubles=other.astype(float), flat=other.ravel(), nan=other * np.nan).get(damage, other)
        meta = dict(json.loads(arrays["meta"].tobytes()))
        if damage != "other-numbers":
            meta["sha256"] = hashlib.sha256(np.ascontiguousarray(other)).hexdigest()
        text = "[1]" if damage == "list" else json.dumps(meta)
        np.savez(path, features=other, meta=np.frombuffer(text.encode(), np.uint8))
    with caplog.at_level(logging.WARNING):
        rebuilt = cached_features(embed, Images(), path=path)
    assert embed.calls == 2
    assert "recomputed" in caplog.text
    assert torch.equal(rebuilt.features, whole.features)
    cached_features(embed, Images(), path=path)
    assert embed.calls == 2


def test_labels_are_those_of_the_data_set_and_not_of_the_file(tmp_path):
    data, path = Images(), tmp_path / "train.npz"
    cached_features(Counted(), data, path=path)
    arrays = dict(np.load(path))
    np.savez(path, labels=1 - data.labels.numpy(), **arrays)
    bank = cached_features(Counted(), data, path=path)
    assert bank.meta["cached"] and torch.equal(bank.labels, data.labels)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "bank.npz"
    bank = FeatureBank(torch.ones(2, 3), torch.zeros(2, dtype=torch.int64), {"seconds": 1.0})
    bank.save(path)
    monkeypatch.setattr("numpy.savez", lambda file, **_: file.write(b"half") and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        bank.save(path)
    assert torch.equal(FeatureBank.load(path, bank.labels).features, bank.features)
    assert list(tmp_path.iterdir()) == [path]


def test_labelled_rows():
    bank = FeatureBank(torch.arange(6.0).reshape(3, 2), torch.tensor([4, -1, 2]))
    assert bank.labelled().labels.tolist() == [4, 2]
    assert bank.labelled().features.tolist() == [[0, 1], [4, 5]]
    with pytest.raises(ValueError, match="N labels"):
        FeatureBank(torch.ones(3, 2), torch.zeros(2))
