"""Packed sets: equality with the packed files, resuming, and refusal of damaged packs."""

import copy
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_ext.apis import evaluate, pack, pretrain
from ssl_ext.cli.pack import main
from ssl_ext.datasets import FolderDataset, ImageFiles, PackedDataset, collate_batch, packed, packing
from ssl_ext.datasets.contents import image_contents
from ssl_ext.datasets.packed import check_pack
from ssl_ext.errors import UserError
from ssl_ext.evaluation import dataset_fingerprint, load_splits
from ssl_ext.evaluation.identity import dataset_name

NAMES = ("train/b/1.jpg", "train/b/2.png", "train/a/3.jpg", "train/a/4.jpg", "train/a/5.jpg", "val/b/6.jpg")


def photograph(path, number, mode="RGB", size=(30, 20), **options):
    """A JPEG or PNG file of smooth colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = () if mode == "L" else (4,) if mode == "CMYK" else (3,)
    coarse = np.random.default_rng(number).integers(0, 256, (4, 5, *channels), np.uint8)
    Image.fromarray(coarse, mode).resize(size, Image.Resampling.BICUBIC).save(path, **options)


@pytest.fixture
def folder(tmp_path):
    """Two classes, two splits; a grey, a CMYK and a turned JPEG and a PNG file among them."""
    root = tmp_path / "images"
    turned = Image.Exif()
    turned[274] = 6
    kinds = {"train/a/3.jpg": dict(mode="L"), "train/a/4.jpg": dict(mode="CMYK")}
    kinds["train/a/5.jpg"] = dict(exif=turned)
    for number, name in enumerate(NAMES):
        photograph(root / name, number, **kinds.get(name, {}))
    return root


def same(first, second):
    return all(torch.equal(first[key], second[key]) for key in ("inputs", "labels", "indices"))


def everything(dataset):
    return collate_batch([dataset[index] for index in range(len(dataset))])


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("size", [12, None])
def test_a_pack_equals_the_packed_folder(folder, tmp_path, size, channels):
    out = tmp_path / "packed"
    written = pack(folder, out, size=size, channels=channels, workers=0)
    assert [path.name for path in written] == ["train.index", "val.index"]
    options = dict(image_size=12, channels=channels)
    splits = load_splits(lambda split: PackedDataset(split, str(out), **options))
    for found in (splits.train, splits.test):
        split = found.metainfo["split"]
        files = FolderDataset(split, str(folder), **options)
        assert same(everything(found), everything(files))
        assert same(found.__getitems__(range(len(found))), everything(files))
        for name in ("classes", "num_classes", "task", "metainfo", "available_splits", "groups"):
            assert getattr(found, name) == getattr(files, name)
        assert found.labels.tolist() == files.labels.tolist()
        assert [os.path.join(folder, split, name) for name in found.files] == files.files
    assert check_pack(out) == {"train": 5, "val": 1}
    if size is None:
        packs, files = (
            PackedDataset("train", str(out), **options),
            FolderDataset("train", str(folder), **options),
        )
        assert [packs.data(row).tobytes() for row in range(5)] == [Path(f).read_bytes() for f in files.files]
        found, expected = image_contents(packs), image_contents(files)
        assert found.digests == expected.digests
        crop = dict(image_size=8, crop="random", channels=channels)
        first, second = (
            kind("train", str(root), **crop) for kind, root in ((PackedDataset, out), (FolderDataset, folder))
        )
        for data in (first, second):
            torch.manual_seed(0)
            data.drawn = everything(data)
        assert same(first.drawn, second.drawn)
        torch.manual_seed(0)
        assert same(first.__getitems__(range(5)), first.drawn)


def test_images_are_reduced_to_a_short_side_and_small_ones_are_not_changed(tmp_path):
    photograph(tmp_path / "images/1.png", 1, size=(60, 40))
    photograph(tmp_path / "images/2.png", 2, size=(30, 20))
    pack(tmp_path / "images", tmp_path / "out", short_side=20, quality=98, channels=1, workers=0)
    options = dict(image_size=20, channels=1)
    data = PackedDataset(data_root=str(tmp_path / "out"), **options)
    files = FolderDataset(data_root=str(tmp_path / "images"), **options)
    assert data.pixels(0).shape == (1, 20, 30)
    assert (data[0]["inputs"].int() - files[0]["inputs"].int()).abs().max() < 6
    assert data.data(1).tobytes() == (tmp_path / "images/2.png").read_bytes()
    assert data.plain.tolist() == [True, False]
    assert data.num_classes == 0 and data.labels.tolist() == [-1, -1]


def test_groups_and_splits_of_a_csv_file_are_kept(tmp_path):
    for number in range(3):
        photograph(tmp_path / f"images/{number}.png", number)
    table = tmp_path / "labels.csv"
    table.write_text("file,label,split,lesion\n2.png,x,train,l2\n0.png,y,train,l0\n1.png,y,test,l1\n")
    options = dict(labels_file=str(table), group="lesion")
    pack(tmp_path / "images", tmp_path / "out", size=8, workers=0, **options)
    for split in ("train", "test"):
        data = PackedDataset(split, str(tmp_path / "out"), image_size=8)
        files = ImageFiles(split, tmp_path / "images", image_size=8, **options)
        assert same(everything(data), everything(files))
        assert data.groups.tolist() == files.groups.tolist()
        assert (data.classes, data.files) == (files.classes, files.files)
        assert (data.available_splits, data.num_classes, data.task) == (("test", "train"), 2, "multi-class")
    config = tmp_path / "mine.py"
    settings = dict(
        options, type="ImageFiles", data_root=str(tmp_path / "images"), task="binary", image_size=8
    )
    config.write_text(f"evaluation_dataset = {settings}")
    pack(config, tmp_path / "binary", workers=0)
    data = PackedDataset("train", str(tmp_path / "binary"), image_size=8)
    assert data.task == data.metainfo["task"] == "binary" and data.groups.tolist() == ["l2", "l0"]


def test_the_files_of_a_config_are_packed(folder, tmp_path):
    config = tmp_path / "mine.py"
    config.write_text(
        f"evaluation_dataset = dict(type='FolderDataset', data_root={str(folder)!r}, image_size=8)"
    )
    assert [path.name for path in pack(config, tmp_path / "out", workers=0)] == ["train.index", "val.index"]
    config.write_text("evaluation_dataset = dict(type='Digits')")
    with pytest.raises(UserError, match="Digits does not read image files, so there is nothing to pack"):
        pack(config, tmp_path / "other", workers=0)


def test_names_that_are_not_utf8_are_packed(tmp_path):
    odd = os.fsdecode(b"caf\xe9.png")
    photograph(tmp_path / "images" / odd, 1)
    pack(tmp_path / "images", tmp_path / "out", workers=0)
    assert PackedDataset(data_root=str(tmp_path / "out"), image_size=8).files == [odd]


def test_the_fingerprint_follows_the_content(folder, tmp_path):
    prints = []
    for number, name in enumerate(("one", "two", "three")):
        if number == 2:
            photograph(folder / NAMES[0], 99)
        pack(folder, tmp_path / name, workers=0)
        prints.append(dataset_fingerprint(PackedDataset("train", str(tmp_path / name), image_size=8)))
    assert prints[0] == prints[1] != prints[2]
    larger = PackedDataset("train", str(tmp_path / "one"), image_size=9)
    assert dataset_fingerprint(larger) != prints[0]


def damage(path, change):
    content = bytearray(path.read_bytes())
    path.write_bytes(change(content))


def flip(content):
    content[len(content) // 2] ^= 1
    return content


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("train.images", lambda content: content[:-1], r"has \d+ bytes instead of \d+: pack it again"),
        ("train.index", lambda content: content[:-1], "does not match its checksum: it is truncated or was"),
        ("train.index", flip, "does not match its checksum: it is truncated or was changed"),
        ("train.images", flip, r"image \d does not match its checksum: pack it again"),
    ],
)
def test_a_damaged_pack_is_refused(folder, tmp_path, file, change, message):
    pack(folder, tmp_path / "out", workers=0)
    damage(tmp_path / "out" / file, change)
    with pytest.raises(ValueError, match=message):
        everything(PackedDataset("train", str(tmp_path / "out"), image_size=8))
    with pytest.raises(ValueError, match=message):
        check_pack(tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(image_size=13), "dataset.image_size=13 is above the 12 px of the images packed in"),
        (dict(channels=1), "dataset.channels=1, but .* holds arrays of 3"),
        (dict(split="test"), "has no split 'test'; available: 'train', 'val'"),
        (dict(download=True), "is a local folder and cannot be downloaded"),
        (dict(device="cuda"), "no CUDA device is available; leave dataset.device unset"),
        (dict(data_root="nowhere"), "nothing found at .*nowhere.*ssl-ext pack SOURCE nowhere"),
    ],
)
def test_wrong_options_are_named(folder, tmp_path, options, message):
    pack(folder, tmp_path / "out", size=12, workers=0)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        PackedDataset(**{"split": "train", "data_root": str(tmp_path / "out"), "image_size": 12, **options})


def test_jpeg_files_of_a_batch_are_decoded_on_the_device(folder, tmp_path, monkeypatch):
    """With the ``meta`` device as stand-in for a GPU, each call is recorded and answered on the CPU."""
    pack(folder, tmp_path / "out", workers=0)
    calls = []

    def decode(jpegs, mode, device):
        calls.append((len(jpegs), mode.name, device.type))
        return [torch.empty(3, 20, 30, dtype=torch.uint8, device=device) for _ in jpegs]

    monkeypatch.setattr(packed, "decode_jpeg", decode)
    batch = PackedDataset("train", str(tmp_path / "out"), image_size=8, device="meta").__getitems__(range(5))
    # A PNG file, a CMYK and a turned JPEG are decoded by Pillow.
    assert calls == [(2, "RGB", "meta")]
    assert isinstance(batch, packed.DeviceBatch)
    assert {value.device.type for value in batch.values()} == {"meta"}
    assert batch["inputs"].shape == (5, 3, 8, 8)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_decodes_like_the_cpu(folder, tmp_path):
    """JPEG decoders round differently, and each interpolates the colours between its samples."""
    pack(folder, tmp_path / "out", workers=0)
    on_cpu, on_gpu = (
        PackedDataset("train", str(tmp_path / "out"), image_size=8, device=device).__getitems__(range(5))
        for device in ("cpu", "cuda")
    )
    assert {value.device.type for value in on_gpu.values()} == {"cuda"}
    error = (on_cpu["inputs"].double() - on_gpu["inputs"].cpu()).abs()
    assert error.mean() < 3, error.mean(dim=(1, 2, 3))
    for name in ("labels", "indices"):
        torch.testing.assert_close(on_cpu[name], on_gpu[name].cpu())


def interrupted(folder, out, monkeypatch, batches=2):
    """Pack with batches of one image, and stop after some."""
    monkeypatch.setattr(packing, "BATCH", 1)
    original, joined = packing._joined, []

    def stop(items):
        joined.append(items)
        if len(joined) > batches:
            raise KeyboardInterrupt
        return original(items)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(packing, "_joined", stop)
        pack(folder, out, workers=0)


def test_a_half_written_pack_is_refused_and_resumed(folder, tmp_path, monkeypatch):
    pack(folder, tmp_path / "whole", workers=0)
    out = tmp_path / "out"
    interrupted(folder, out, monkeypatch)
    with pytest.raises(
        ValueError, match="the split 'train' is half-written: repeat ssl-ext pack to finish it"
    ):
        PackedDataset("train", str(out), image_size=8)
    # A kill while it writes leaves parts of a record and of an image.
    with open(out / "train.partial", "ab") as file:
        file.write(b"part")
    with open(out / "train.images", "ab") as file:
        file.write(b"part of an image")
    encode, read = packing._encode, []
    monkeypatch.setattr(packing, "_encode", lambda path, *how: (read.append(path), encode(path, *how))[1])
    pack(folder, out, workers=0)
    assert len(read) == len(NAMES) - 2
    for name in ("train.index", "train.images", "val.index", "val.images"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert sorted(path.name for path in out.glob("*.*")) == sorted(
        [".lock", "train.images", "train.index", "val.images", "val.index"]
    )


def test_images_damaged_before_a_resume_are_written_again(folder, tmp_path, monkeypatch):
    interrupted(folder, tmp_path / "out", monkeypatch)
    damage(tmp_path / "out/train.images", flip)
    pack(folder, tmp_path / "out", workers=0)
    assert check_pack(tmp_path / "out") == {"train": 5, "val": 1}


def test_files_that_change_while_packing_are_named(folder, tmp_path, monkeypatch):
    out = tmp_path / "out"
    interrupted(folder, out, monkeypatch)
    photograph(folder / "train/a/0.png", 7)
    with pytest.raises(UserError, match="files have changed since .*train.partial' was written"):
        pack(folder, out, workers=0)
    (folder / "train/a/0.png").unlink()
    photograph(folder / "train/a/3.jpg", 8)
    with pytest.raises(UserError, match="3.jpg' has changed since packing began: delete .*train.partial'"):
        pack(folder, out, workers=0)
    with pytest.raises(UserError, match="with quality 95, channels 3: use the same options, or delete it"):
        pack(folder, out, size=8, workers=0)
    joined = packing._joined

    def add(items):
        photograph(folder / "train/a/0.png", 7)
        return joined(items)

    monkeypatch.setattr(packing, "_joined", add)
    with pytest.raises(UserError, match="Files were added or removed since packing began"):
        pack(folder, tmp_path / "other", workers=0)


def test_a_damaged_or_missing_file_is_named(folder, tmp_path):
    damage(folder / NAMES[0], lambda content: content[:-100])
    for workers in (0, 1):
        with pytest.raises(
            UserError, match=r"^\S*1.jpg: cannot be decoded as an image: .*truncated"
        ) as error:
            pack(folder, tmp_path / "out", workers=workers)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(size=0), "--size must be at least 1, got 0"),
        (dict(short_side=-1), "--short-side must be at least 1, got -1"),
        (dict(quality=101), "--quality must lie between 1 and 100, got 101"),
        (dict(channels=2), "--channels must be 1 or 3, got 2"),
        (dict(options={"a": 1}), "--cfg-options need a config as SOURCE, not a folder"),
    ],
)
def test_wrong_options_of_packing_are_named(folder, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        pack(folder, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_killed_run_is_finished_by_the_same_command(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(packing, "BATCH", 1)
    words = [str(folder), str(tmp_path / "out"), "--workers", "0", "--size", "12"]
    child = os.fork()
    if not child:
        # The third image is in its file, but not yet in the records.
        calls = iter(range(3))
        os.fsync = lambda handle: next(calls) == 2 and os.kill(os.getpid(), signal.SIGKILL)
        try:
            main(words)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert (tmp_path / "out/train.images").stat().st_size == 3 * 3 * 12 * 12
    assert not (tmp_path / "out/train.index").exists()
    main(words)
    options = dict(split="train", image_size=12)
    data = PackedDataset(data_root=str(tmp_path / "out"), **options)
    assert same(everything(data), everything(FolderDataset(data_root=str(folder), **options)))
    written = (tmp_path / "out/train.index").stat()
    main(words)
    assert (tmp_path / "out/train.index").stat() == written
    main([str(tmp_path / "out"), "--check"])
    assert "train: 5 images match their checksums" in capsys.readouterr().out
    with pytest.raises(UserError, match="Give the folder of the pack: ssl-ext pack SOURCE OUT"):
        main([str(folder)])


def test_training_and_evaluation_on_a_pack_equal_those_on_its_folder(tiny_config, tmp_path):
    for number in range(12):
        photograph(
            tmp_path / f"images/{('train', 'test')[number % 3 == 2]}/{number % 2}/{number}.png", number
        )
    pack(tmp_path / "images", tmp_path / "packed", size=8, workers=0)
    tiny_config.train_dataloader.batch_size = 4
    tiny_config.train_cfg.max_epochs = 1
    tiny_config.evaluation.knn.k = 3
    found = {}
    for kind, root in (("FolderDataset", "images"), ("PackedDataset", "packed")):
        data = dict(type=kind, data_root=str(tmp_path / root), image_size=8)
        config = copy.deepcopy(tiny_config)
        config.train_dataloader.dataset, config.evaluation_dataset = dict(data, split="train"), data
        work_dir = tmp_path / kind
        model = pretrain(config, work_dir=work_dir)
        rows = evaluate(config, work_dir / "epoch_1.pth", protocols=["knn"], out_dir=work_dir / "evaluation")
        scalars = next(work_dir.glob("*/vis_data/scalars.json")).read_text()
        found[kind] = model.state_dict(), rows[0].last, re.findall(r'"knn_top1": [\d.]+', scalars)
    (weights, *scores), (packed_weights, *packed_scores) = found.values()
    assert all(torch.equal(value, packed_weights[name]) for name, value in weights.items())
    assert scores == packed_scores and scores[1]
    assert rows[0].sizes["train"] == 8 and dataset_name(data) == "packed"
