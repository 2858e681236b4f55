import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import functional as F

from ssl_ext.datasets import FolderDataset, collate_batch, folder
from ssl_ext.datasets.decode import Reading, read_image

RNG = np.random.default_rng(0)


def save(path, height=20, width=30):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def tree(tmp_path):
    for name in ("train/dog/b.png", "train/dog/deep/a.JPG", "train/cat/c.png", "val/eel/d.png"):
        save(tmp_path / name)
    save(tmp_path / "unlabeled/e.png")
    save(tmp_path / "train/.trash/f.png")
    (tmp_path / "train/cat/notes.txt").write_text("no image")
    return tmp_path


def test_splits_classes_and_labels(tree):
    train = FolderDataset("train", str(tree), image_size=8)
    assert [path.rsplit("/", 1)[1] for path in train.files] == ["c.png", "b.png", "a.JPG"]
    assert train.classes == ("cat", "dog", "eel")
    assert train.labels.tolist() == [0, 1, 1]
    assert train.available_splits == ("train", "unlabeled", "val")
    val = FolderDataset("val", str(tree), image_size=8)
    assert val.labels.tolist() == [2]
    assert val.num_classes == 3
    assert FolderDataset("unlabeled", str(tree), image_size=8).labels.tolist() == [-1]
    with pytest.raises(ValueError, match="no split 'test'; available: 'train', 'unlabeled', 'val'"):
        FolderDataset("test", str(tree), image_size=8)
    with pytest.raises(ValueError, match="no split None"):
        FolderDataset(data_root=str(tree), image_size=8)


@pytest.mark.parametrize("beside", ["docs/figures/z.png", "train_old/fox/z.png", "masks/cat/z.png"])
def test_a_folder_beside_the_splits_adds_no_class(tree, beside):
    save(tree / beside)
    assert FolderDataset("train", str(tree), image_size=8).classes == ("cat", "dog", "eel")
    assert FolderDataset("val", str(tree), image_size=8).labels.tolist() == [2]


def test_classes_of_another_split_come_after_those_of_the_usual_ones(tree):
    save(tree / "extra/ant/z.png")
    save(tree / "extra/dog/z.png")
    extra = FolderDataset("extra", str(tree), image_size=8)
    assert (extra.classes, extra.labels.tolist()) == (("cat", "dog", "eel", "ant"), [3, 1])
    folds = FolderDataset("x", str(split_folders(tree / "folds", "x/a", "y/b")), image_size=8)
    assert folds.classes == ("a", "b")


def split_folders(root, *classes):
    for name in classes:
        save(root / name / "z.png")
    return root


@pytest.mark.parametrize(
    "empty", ["train/__MACOSX", "train/empty/deep", "val/notes", "train/.git", "val/eel2"]
)
def test_a_folder_without_images_is_no_class(tree, monkeypatch, empty):
    lines = []
    monkeypatch.setattr(folder, "print_log", lambda line, **kwargs: lines.append(line))
    folder._log_empty.cache_clear()
    (tree / empty).mkdir(parents=True)
    (tree / empty / "readme.txt").write_text("no image")
    data = FolderDataset("train", str(tree), image_size=8)
    assert (data.classes, data.labels.tolist()) == (("cat", "dog", "eel"), [0, 1, 1])
    name = empty.split("/")[1]
    assert lines == (
        [] if name == ".git" else [f"'{tree}/train': class folders without images are ignored: '{name}'"]
    )
    # A class is empty only if it is in every split.
    (tree / "train/eel").mkdir()
    assert FolderDataset("train", str(tree), image_size=8).classes == ("cat", "dog", "eel")


@pytest.mark.parametrize("split", [None, "train"])
def test_a_folder_without_splits_is_one(tree, split):
    data = FolderDataset(split, str(tree / "train"), image_size=8)
    assert data.classes == ("cat", "dog")
    assert data.available_splits == ("train",)
    plain = FolderDataset(split, str(tree / "unlabeled"), image_size=8)
    assert (plain.labels.tolist(), plain.classes, plain.num_classes) == ([-1], None, 0)
    with pytest.raises(ValueError, match="no split 'test'; available: 'train'"):
        FolderDataset("test", str(tree / "train"), image_size=8)


@pytest.mark.parametrize(("height", "width"), [(20, 30), (41, 17), (8, 8)])
def test_centre_crop_equals_torchvision(tmp_path, height, width):
    pixels = save(tmp_path / "a.png", height, width)
    sample = FolderDataset(data_root=str(tmp_path), image_size=8)[0]
    resized = F.resize(Image.fromarray(pixels), 8, F.InterpolationMode.BICUBIC)
    expected = F.pil_to_tensor(F.center_crop(resized, [8, 8]))
    # Both filters use integer weights, rounded differently.
    assert (sample["inputs"].int() - expected.int()).abs().max() <= 1
    assert (sample["inputs"].double() - expected).mean().abs() < 0.1
    assert sample["inputs"].dtype == torch.uint8


def test_random_crops_are_parts_of_the_image_drawn_anew(tmp_path):
    row, column = np.mgrid[:40, :60]
    ramp = np.stack([4 * column, 6 * row, 0 * row], -1).astype(np.uint8)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    data = FolderDataset(data_root=str(tmp_path), image_size=10, crop="random", scale=(0.2, 0.5))
    areas, starts = [], []
    torch.manual_seed(0)
    for _ in range(200):
        image = data[0]["inputs"].double()
        # The slope of the ramps inside the crop gives its width and height in source pixels.
        width = (image[0, 5, 8] - image[0, 5, 1]) / 7 / 4 * 10
        height = (image[1, 8, 5] - image[1, 1, 5]) / 7 / 6 * 10
        areas.append(float(width * height / 2400))
        starts.append(float(image[0, 5, 0]))
    assert 0.15 < min(areas) < 0.25
    assert 0.45 < max(areas) < 0.56
    assert max(starts) - min(starts) > 60
    torch.manual_seed(0)
    assert float(data[0]["inputs"][0, 5, 0]) == starts[0]


def test_workers_deliver_stacked_batches(tree):
    data = FolderDataset("train", str(tree), image_size=8)
    loader = DataLoader(data, batch_size=2, num_workers=2, collate_fn=collate_batch)
    batches = list(loader)
    assert [batch["inputs"].shape for batch in batches] == [(2, 3, 8, 8), (1, 3, 8, 8)]
    assert torch.cat([batch["indices"] for batch in batches]).tolist() == [0, 1, 2]
    for batch in batches:
        assert torch.equal(batch["labels"], data.labels[batch["indices"]])
        for index, image in zip(batch["indices"], batch["inputs"], strict=True):
            assert torch.equal(image, data[int(index)]["inputs"])


def test_grey_channel_and_metainfo(tree):
    data = FolderDataset("train", str(tree), image_size=8, channels=1)
    assert data[0]["inputs"].shape == (1, 8, 8)
    assert data[-1]["indices"].item() == 2
    assert data.metainfo == {
        "classes": ("cat", "dog", "eel"),
        "task": "multi-class",
        "num_classes": 3,
        "channels": 1,
        "image_size": (8, 8),
        "split": "train",
    }


def test_16_bit_grey_is_scaled(tmp_path):
    values = np.linspace(0, 65535, 64).round().astype(np.uint16).reshape(8, 8)
    Image.fromarray(values).save(tmp_path / "a.png")
    expected = np.rint(values / 257).astype(np.uint8)
    assert np.array_equal(np.asarray(read_image(tmp_path / "a.png", Reading(1))), expected)
    rgb = FolderDataset(data_root=str(tmp_path), image_size=8)[0]["inputs"]
    assert np.array_equal(rgb.numpy(), np.repeat(expected[None], 3, 0))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "LA", "CMYK"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    suffix = "tif" if mode == "CMYK" else "png"
    grey = Image.new("L", (9, 9), 255).convert("RGB").convert(mode)
    grey.save(tmp_path / f"a.{suffix}")
    image = read_image(tmp_path / f"a.{suffix}")
    assert image.mode == "RGB"
    assert np.asarray(image).min() == 255


def test_ranges_without_meaning_are_refused(tmp_path):
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(ValueError, match=r"f\.tif: .*floating-point"):
        read_image(tmp_path / "f.tif")
    Image.fromarray(np.full((4, 4), 70000, np.int32)).save(tmp_path / "i.tif")
    with pytest.raises(ValueError, match=r"i\.tif: .*70000 exceed 16 bits"):
        read_image(tmp_path / "i.tif")


@pytest.mark.parametrize("content", [b"", b"not an image", None])
def test_a_broken_file_is_named_when_it_is_read(tree, content):
    path = tree / "train/cat/c.png"
    path.write_bytes(path.read_bytes()[:300] if content is None else content)
    data = FolderDataset("train", str(tree), image_size=8)
    with pytest.raises(ValueError, match=r"cat/c\.png: cannot be decoded"):
        data[0]
    assert data[1]["inputs"].shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"crop": "corner"}, "dataset.crop.*'corner'"),
        ({"scale": (0, 1)}, "dataset.scale"),
        ({"scale": (0.5, 0.2)}, "dataset.scale"),
        ({"channels": 2}, "dataset.channels.*2"),
        ({"image_size": 0}, "dataset.image_size.*0"),
        ({"download": True}, "dataset.download"),
    ],
)
def test_bad_options(tree, kwargs, words):
    with pytest.raises(ValueError, match=words):
        FolderDataset("train", str(tree), **{"image_size": 8, **kwargs})


def test_bad_folders(tree, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\. .*dataset.data_root"):
        FolderDataset("train", str(tmp_path / "absent"), image_size=8)
    (tmp_path / "void").mkdir()
    with pytest.raises(ValueError, match="void: holds no images"):
        FolderDataset("train", str(tmp_path / "void"), image_size=8)
    save(tree / "train/stray.png")
    with pytest.raises(ValueError, match="in class folders and beside them"):
        FolderDataset("train", str(tree), image_size=8)
