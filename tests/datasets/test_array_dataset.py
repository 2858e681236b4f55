import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler
from torch.utils.data import BatchSampler, DataLoader, Subset

from ssl_ext.datasets import ArrayDataset, collate_batch
from ssl_ext.registry import DATASETS


def make(count=10, **kwargs):
    images = np.random.default_rng(0).integers(0, 256, (count, 3, 6, 5), dtype=np.uint8)
    return images, ArrayDataset(images, np.arange(count) % 4, **kwargs)


def test_a_batch_holds_the_rows_of_the_array():
    images, data = make()
    index = [7, 0, 7, -1]
    batch = data.__getitems__(index)
    assert np.array_equal(batch["inputs"].numpy(), images[index])
    assert batch["inputs"].dtype == torch.uint8
    assert batch["labels"].tolist() == [3, 0, 3, 1]
    assert batch["indices"].tolist() == [7, 0, 7, 9]
    assert batch["labels"].dtype == batch["indices"].dtype == torch.int64


def test_a_sample_equals_the_row_of_a_batch():
    images, data = make()
    sample = data[3]
    assert np.array_equal(sample["inputs"].numpy(), images[3])
    assert (sample["labels"].item(), sample["indices"].item()) == (3, 3)
    assert sample["labels"].shape == sample["indices"].shape == ()


@pytest.mark.parametrize("index", [10, -11])
def test_out_of_range_is_an_index_error(index):
    _, data = make()
    with pytest.raises(IndexError, match="10 images"):
        data.__getitems__([0, index])
    with pytest.raises(IndexError):
        data[index]


def test_array_is_shared_not_copied():
    images, data = make()
    assert data.images.data_ptr() == images.ctypes.data


def test_read_only_and_reversed_arrays_are_taken(recwarn):
    images, _ = make()
    frozen = images[::-1]
    frozen.flags.writeable = False
    assert np.array_equal(ArrayDataset(frozen).images.numpy(), images[::-1])
    assert not [w for w in recwarn if issubclass(w.category, UserWarning)]


def test_grey_seen_as_three_channels_by_a_view():
    grey = torch.randint(0, 256, (4, 1, 6, 6), dtype=torch.uint8)
    data = ArrayDataset(grey.expand(-1, 3, -1, -1))
    batch = data.__getitems__([2, 1])["inputs"]
    assert data.images.data_ptr() == grey.data_ptr()
    assert batch.is_contiguous()
    assert torch.equal(batch, grey[[2, 1]].repeat(1, 3, 1, 1))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("pin_memory", [False, pytest.param(True, id="pin")])
@pytest.mark.filterwarnings("ignore:.*pin_memory.*")
def test_an_epoch_of_the_loader_visits_every_image_once(workers, pin_memory):
    images, data = make(11)
    loader = DataLoader(
        data,
        batch_size=4,
        sampler=DefaultSampler(data, shuffle=True, seed=3),
        collate_fn=collate_batch,
        num_workers=workers,
        pin_memory=pin_memory,
    )
    batches = list(loader)
    assert [len(batch["inputs"]) for batch in batches] == [4, 4, 3]
    index = torch.cat([batch["indices"] for batch in batches])
    assert sorted(index.tolist()) == list(range(11))
    assert np.array_equal(torch.cat([b["inputs"] for b in batches]).numpy(), images[index.numpy()])


def test_batch_sampler_and_subset_index_whole_batches():
    images, data = make()
    sampler = BatchSampler(DefaultSampler(data, shuffle=False), 4, drop_last=True)
    loader = DataLoader(data, batch_sampler=sampler, collate_fn=collate_batch)
    assert [batch["indices"].tolist() for batch in loader] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    part = DataLoader(Subset(data, [8, 2, 5]), batch_size=3, collate_fn=collate_batch)
    assert np.array_equal(next(iter(part))["inputs"].numpy(), images[[8, 2, 5]])


def test_on_a_device_the_batch_is_built_there_and_not_pinned():
    _, data = make(device="meta")  # a device other than the CPU that every machine has
    batch = data.__getitems__([1, 2])
    assert {value.device.type for value in batch.values()} == {"meta"}
    assert batch["inputs"].shape == (2, 3, 6, 5)
    assert batch.pin_memory() is batch


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda_batches_equal_those_of_the_host():
    images, data = make(device="cuda")
    loader = DataLoader(data, batch_size=5, collate_fn=collate_batch, pin_memory=True)
    batches = list(loader)
    assert all(value.is_cuda for batch in batches for value in batch.values())
    assert np.array_equal(torch.cat([b["inputs"] for b in batches]).cpu().numpy(), images)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_absent_device_is_named():
    with pytest.raises(ValueError, match="dataset.device"):
        make(device="cuda")


def test_without_labels_all_are_minus_one():
    images, _ = make()
    data = ArrayDataset(images)
    assert data.labels.tolist() == [-1] * 10
    assert data.num_classes == 0
    many = ArrayDataset(images, task="multi-label", classes=["a", "b"])
    assert many.labels.tolist() == [[-1, -1]] * 10


@pytest.mark.parametrize(
    ("labels", "kwargs", "expected"),
    [
        ([0, 2, -1, 1], {}, 3),
        ([0, 1, 1, 0], {"classes": ["a", "b", "c"]}, 3),
        ([0, 0, 0, 0], {"task": "binary"}, 2),
        ([0, 3, 1, 1], {"task": "ordinal"}, 4),
        ([[0, 1, 1], [0, 0, 0], [1, 0, 0], [1, 1, 1]], {"task": "multi-label"}, 3),
    ],
)
def test_number_of_classes(labels, kwargs, expected):
    data = ArrayDataset(np.zeros((4, 1, 2, 2), np.uint8), np.array(labels), **kwargs)
    assert data.num_classes == data.metainfo["num_classes"] == expected
    assert data.labels.tolist() == labels


def test_metainfo():
    _, data = make(classes="abcd", split="test", available_splits=["train", "test"])
    assert data.metainfo == {
        "classes": ("a", "b", "c", "d"),
        "task": "multi-class",
        "num_classes": 4,
        "channels": 3,
        "image_size": (6, 5),
        "split": "test",
    }
    assert data.available_splits == ("train", "test")


@pytest.mark.parametrize(
    ("images", "error", "words"),
    [
        (np.zeros((2, 3, 4, 4), np.float32), TypeError, "uint8.*float32"),
        (np.zeros((2, 3, 4), np.uint8), ValueError, r"\(2, 3, 4\)"),
        (np.zeros((2, 5, 4, 4), np.uint8), ValueError, "1 to 4 channels"),
        (np.zeros((0, 3, 4, 4), np.uint8), ValueError, "empty"),
    ],
)
def test_bad_images(images, error, words):
    with pytest.raises(error, match=words):
        ArrayDataset(images)


@pytest.mark.parametrize(
    ("labels", "kwargs", "error", "words"),
    [
        ([0, 1, 2], {}, ValueError, "N = 4"),
        ([[0], [1], [0], [1]], {}, ValueError, r"\(4, 1\)"),
        ([0.0, 1.0, 0.0, 1.0], {}, TypeError, "integers"),
        ([0, 1, -2, 1], {}, ValueError, "-2 to 1"),
        ([0, 1, 2, 1], {"classes": ["a", "b"]}, ValueError, "0 to 1"),
        ([0, 1, 2, 1], {"task": "binary"}, ValueError, "0 to 1"),
        ([0, 1, 1, 1], {"task": "binary", "classes": "abc"}, ValueError, "2 classes, got 3"),
        ([0, 1, 1, 1], {"task": "multi-label"}, ValueError, r"\(N, L\)"),
        ([[0, 2]] * 4, {"task": "multi-label"}, ValueError, "0 to 1"),
        ([[0, 1]] * 4, {"task": "multi-label", "classes": "abc"}, ValueError, "2 columns for 3"),
        ([0, 1, 1, 1], {"task": "regression"}, ValueError, "dataset.task.*'regression'"),
    ],
)
def test_bad_labels(labels, kwargs, error, words):
    with pytest.raises(error, match=words):
        ArrayDataset(np.zeros((4, 1, 2, 2), np.uint8), np.array(labels), **kwargs)


def test_is_registered():
    assert DATASETS.get("ArrayDataset") is ArrayDataset
