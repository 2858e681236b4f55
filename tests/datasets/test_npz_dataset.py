import numpy as np
import pytest

from ssl_ext.datasets import NPZDataset, npz

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 8, 7), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (6, 8, 7, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


@pytest.fixture
def write(tmp_path):
    def function(**arrays):
        path = tmp_path / "mine.npz"
        np.savez(path, **arrays)
        return str(path)

    return function


@pytest.mark.parametrize("layout", [None, "given"])
@pytest.mark.parametrize(
    ("stored", "expected", "name"),
    [
        (GREY, GREY[:, None], "NHW"),
        (GREY[..., None], GREY[:, None], "NHWC"),
        (GREY[:, None], GREY[:, None], "NCHW"),
        (COLOUR, COLOUR.transpose(0, 3, 1, 2), "NHWC"),
        (COLOUR.transpose(0, 3, 1, 2), COLOUR.transpose(0, 3, 1, 2), "NCHW"),
    ],
)
@pytest.mark.parametrize("keys", ["train_images train_labels", "x_train y_train"])
def test_every_layout_and_key_style(write, stored, expected, name, layout, keys):
    images, labels = keys.split()
    path = write(**{images: stored, labels: LABELS})
    data = NPZDataset("train", path, layout=layout and name)
    assert np.array_equal(data.images.numpy(), expected)
    assert data.labels.tolist() == LABELS.tolist()
    assert data.available_splits == ("train",)


def test_grey_repeated_on_request_and_colour_left_alone(write):
    data = NPZDataset("train", write(x_train=GREY), as_rgb=True)
    assert np.array_equal(data[2]["inputs"].numpy(), np.repeat(GREY[2:3], 3, 0))
    data = NPZDataset("train", write(x_train=COLOUR), as_rgb=True)
    assert np.array_equal(data.images.numpy(), COLOUR.transpose(0, 3, 1, 2))


def test_an_ambiguous_shape_needs_the_layout(write):
    images = RNG.integers(0, 256, (5, 3, 9, 4), dtype=np.uint8)
    path = write(x_train=images)
    with pytest.raises(ValueError, match="several layouts.*dataset.layout"):
        NPZDataset("train", path)
    assert NPZDataset("train", path, layout="NCHW").images.shape == (5, 3, 9, 4)
    assert NPZDataset("train", path, layout="NHWC").images.shape == (5, 4, 3, 9)


def test_splits_and_classes(write):
    path = write(
        x_train=COLOUR, y_train=LABELS[:, None], x_test=COLOUR[:2], y_test=LABELS[:2],
        classes=np.array(["cat", "dog", "eel"]),
    )  # fmt: skip
    train, test = NPZDataset("train", path), NPZDataset("test", path)
    assert train.labels.tolist() == LABELS.tolist()
    assert train.available_splits == test.available_splits == ("train", "test")
    assert test.classes == ("cat", "dog", "eel")
    with pytest.raises(ValueError, match="no split 'val'; available: 'train', 'test'"):
        NPZDataset("val", path)


def test_every_split_has_the_same_number_of_classes(write):
    path = write(x_train=COLOUR, y_train=LABELS, x_val=COLOUR[:2], y_val=LABELS[:2])
    assert NPZDataset("val", path).num_classes == NPZDataset("train", path).num_classes == 3


def test_multi_label_and_task(write):
    many = np.array([[0, 1], [1, 1], [0, 0], [1, 0], [0, 1], [1, 1]])
    data = NPZDataset("train", write(x_train=COLOUR, y_train=many))
    assert (data.task, data.num_classes) == ("multi-label", 2)
    assert data.labels.tolist() == many.tolist()
    data = NPZDataset("train", write(x_train=COLOUR, y_train=LABELS), task="ordinal")
    assert data.task == "ordinal"


@pytest.mark.parametrize(
    ("train", "test", "values"),
    [
        ([1, 2, 3, 1, 2, 3], [2, 3], [1, 2, 3]),
        ([10, 30, 10, 30, 10, 10], [20, 30], [10, 20, 30]),
        ([4, -1, 9, 4, -1, 9], [9, 4], [4, 9]),
        ([0, 1, 3, 0, 1, 3], [3, 1], [0, 1, 3]),
        ([7, 7, 2, 2, 7, 2], None, [2, 7]),
    ],
)
def test_only_labels_that_occur_are_classes(write, monkeypatch, train, test, values):
    lines = []
    monkeypatch.setattr(npz, "print_log", lambda line, **kwargs: lines.append(line))
    npz._log_numbers.cache_clear()
    path = write(
        x_train=COLOUR, y_train=train, **({} if test is None else dict(x_test=GREY[:2], y_test=test))
    )
    for split, labels in (("train", train), ("test", test)):
        if labels is not None:
            data = NPZDataset(split, path)
            assert data.classes == tuple(map(str, values)) and data.num_classes == len(values)
            assert data.labels.tolist() == [values.index(label) if label >= 0 else -1 for label in labels]
    (told,) = lines
    assert told.endswith(", ".join(f"{value} as {index}" for index, value in enumerate(values)))


def test_labels_from_0_are_numbered_without_a_word(write, monkeypatch):
    monkeypatch.setattr(npz, "print_log", pytest.fail)
    assert NPZDataset("train", write(x_train=COLOUR, y_train=LABELS)).labels.tolist() == LABELS.tolist()
    binary = NPZDataset("train", write(x_train=COLOUR, y_train=LABELS % 2), task="binary")
    assert (binary.task, binary.classes) == ("binary", ("0", "1"))


def test_one_hot_labels_are_read_as_the_task_says(write):
    one_hot = np.eye(3)[LABELS]
    one_hot[1] = -1
    path = write(x_train=COLOUR, y_train=one_hot.astype(np.float32), x_test=COLOUR, y_test=np.eye(3)[LABELS])
    data = NPZDataset("train", path, task="multi-class")
    assert (data.labels.tolist(), data.num_classes) == ([0, -1, 2, 0, 1, 2], 3)
    many = NPZDataset("test", path, task="multi-label")
    assert (many.task, many.labels.tolist()) == ("multi-label", np.eye(3)[LABELS].tolist())
    two = NPZDataset("train", write(x_train=COLOUR, y_train=np.eye(2)[LABELS % 2]), task="binary")
    assert (two.task, two.labels.tolist()) == ("binary", (LABELS % 2).tolist())
    with pytest.raises(ValueError, match=r"shape \(N,\)"):  # two labels for an image
        NPZDataset(
            "train", write(x_train=COLOUR, y_train=np.eye(3)[LABELS] + np.eye(3)[0]), task="multi-class"
        )


def test_only_train_may_lack_labels(write):
    path = write(x_train=COLOUR, x_test=COLOUR)
    assert set(NPZDataset("train", path).labels.tolist()) == {-1}
    with pytest.raises(ValueError, match="mine.npz: no labels 'y_test'"):
        NPZDataset("test", path)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_in_the_unit_interval_become_uint8(write, dtype):
    data = NPZDataset("train", write(x_train=(GREY / 255).astype(dtype)))
    difference = np.abs(data.images[:, 0].numpy().astype(int) - GREY)
    assert difference.max() <= (1 if dtype == np.float16 else 0)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x_train": COLOUR.astype(np.float32)}, r"\[0, 1\]"),
        ({"x_train": np.full((2, 4, 4), np.nan)}, "NaN"),
        ({"x_train": np.full((2, 4, 4), np.inf)}, "infinite"),
        ({"x_train": COLOUR.astype(np.int64) + 200}, "integer images must lie in 0 to 255"),
        ({"x_train": np.zeros((4, 784), np.uint8)}, "fits no layout"),
        ({"x_train": np.zeros((4, 9, 9, 9), np.uint8)}, "fits no layout"),
        ({"x_train": COLOUR, "y_train": LABELS[:4]}, "N = 6"),
        ({"x_train": COLOUR, "y_train": LABELS + 0.5}, "whole numbers"),
        ({"x_train": COLOUR, "y_train": LABELS - 5}, "-5 to -3"),
        ({"x_train": COLOUR, "y_train": LABELS.astype(str)}, "integers"),
        (
            {"x_train": COLOUR, "y_train": LABELS, "classes": ["a", "b"]},
            "number them 0 to 1, or leave 'classes'",
        ),
        ({"x_train": COLOUR, "y_train": LABELS + 1, "classes": ["a", "b", "c"]}, "reach 3 for 3 names"),
        (
            {"x_train": COLOUR, "y_train": np.array([1, -1, 1, 1, -1, 1])},
            "-1 means unlabelled; number the two",
        ),
        ({"x_train": COLOUR, "y_train": LABELS * 10**6}, "reaches 2000000"),
        (
            {"x_train": COLOUR, "y_train": np.eye(3)[LABELS]},
            "'multi-class' .*, or dataset.task='multi-label'",
        ),
        ({"x_train": COLOUR[:0]}, "empty"),
        ({"images": COLOUR}, "no images.*the file holds images"),
        ({"x_train": COLOUR, "test_images": COLOUR}, "both styles"),
        ({"x_train": np.array([{}], object)}, "Python objects"),
        ({"x_train": COLOUR, "y_train": np.array([{}] * 6, object)}, "Python objects"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_bad_files_are_named(write, arrays, words):
    with pytest.raises(ValueError, match=rf"mine\.npz: (.|\n)*{words}"):
        NPZDataset("train", write(**arrays))


def test_bad_options(write, tmp_path):
    path = write(x_train=COLOUR)
    with pytest.raises(ValueError, match="dataset.layout.*'CHW'"):
        NPZDataset("train", path, layout="CHW")
    with pytest.raises(ValueError, match="layout NHW"):
        NPZDataset("train", path, layout="NHW")
    with pytest.raises(ValueError, match="dataset.download"):
        NPZDataset("train", path, download=True)
    with pytest.raises(FileNotFoundError, match="other.npz.*dataset.data_root"):
        NPZDataset("train", str(tmp_path / "other.npz"))
