"""``benchmark.py files``: from JPEG files and packs of them to batches, here and in MMPretrain."""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import default_collate
from mmengine.device import get_device
from PIL import Image
from rich.console import Console
from torch.utils.data import DataLoader

from ssl_ext.apis import pack
from ssl_ext.datasets import FolderDataset, collate_batch
from ssl_ext.models import MultiViewPreprocessor
from ssl_ext.registry import DATASETS

from .augment import MMPRETRAIN, OURS, SCALE, VIEWS, mmpretrain_views, simclr_views
from .compare import Comparison, compare, show
from .options import add_numbers

FOLDER, JPEG, ARRAYS = "ssl_ext files", "ssl_ext packed JPEG", "ssl_ext packed arrays"
# Mean size of ImageNet's images; size of the images from our workers, relative to the size of views.
PHOTOGRAPH = (500, 375)
QUALITY = 90
PHOTOGRAPHS = "images: {} x {} px, JPEG of quality {}".format(*PHOTOGRAPH, QUALITY)
DECODED = 256 / 224
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_numbers(
        parser,
        ("batch-size", 64, "images per step"),
        ("size", 224, "side of the views in pixels"),
        ("steps", 8, "batches of files"),
        ("workers", 2, "worker processes of each data loader", 0),
    )


def run(console: Console, **settings: Any) -> dict[str, Any]:
    views, crops = measure(**settings)
    about = "files: batch {batch_size}, {size} px, workers: {workers}; ".format(**settings)
    show(console, views, f"{about}two views, which a GPU would draw after the last three", PHOTOGRAPHS)
    show(console, crops, f"{about}one random crop")
    return dict(views.figures(), crops=crops.figures())


def measure(
    *, batch_size: int, steps: int, size: int, workers: int, pairs: int
) -> tuple[Comparison, Comparison]:
    """Time two normalised views, and one random crop, of every image; items are images.

    Two views: ours decodes an image once in a worker, returns its centre as bytes, at 256 px for views of 224
    px (as ``configs/_base_/datasets/imagenet-256px.py``), and draws the views of a batch on the device; three
    further contenders omit the views, for a GPU that draws them in parallel to the workers: from the files,
    from packed JPEG files with a short side of 256 px, and from packed arrays. MMPretrain decodes once and
    draws every view in the worker by OpenCV, from the whole image and without antialiasing.

    One crop: the workers of all decode, cut a random part and resize it, as supervised training does.
    """
    with tempfile.TemporaryDirectory() as folder:
        write_photographs(Path(folder) / "files" / "photographs", batch_size * steps)
        loading = dict(batch_size=batch_size, num_workers=workers, persistent_workers=workers > 0)
        loading["pin_memory"] = torch.cuda.is_available()
        files, side = f"{folder}/files", round(size * DECODED)
        for name, form in ((JPEG, dict(short_side=side)), (ARRAYS, dict(size=side))):
            pack(files, Path(folder) / name, quality=QUALITY, workers=workers, **form)
        kinds = {
            FOLDER: dict(type="FolderDataset", data_root=files),
            JPEG: dict(type="PackedDataset", data_root=f"{folder}/{JPEG}"),
            ARRAYS: dict(type="PackedDataset", data_root=f"{folder}/{ARRAYS}"),
        }
        centre = {name: decoded(dict(kind, image_size=side), loading) for name, kind in kinds.items()}
        cut = dict(image_size=size, crop="random", scale=SCALE)
        crop = {name: decoded(kind | cut, loading) for name, kind in kinds.items()}
        contenders = (
            {MMPRETRAIN: mmpretrain(files, size, loading), OURS: ours(files, size, loading)} | centre,
            {MMPRETRAIN: mmpretrain(files, size, loading, views=1)} | crop,
        )
        found = []
        for calls in contenders:
            options = dict(reference=MMPRETRAIN, pairs=pairs, items=batch_size * steps, unit="images")
            found.append(compare(calls, **options))
            for epoch in calls.values():
                epoch.loader._iterator = None  # stops the workers
        return found[0], found[1]


def write_photographs(folder: Path, count: int) -> None:
    """Write JPEG files of smooth random colours with noise, about 70 KiB each."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (47, 62, 3), np.uint8))
        pixels = np.asarray(coarse.resize(PHOTOGRAPH, Image.Resampling.BICUBIC), np.int16)
        noise = random.integers(-6, 7, pixels.shape[:2] + (1,))
        image = Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))
        image.save(folder / f"{number:05}.jpg", quality=QUALITY)


class Epoch:
    """Callable that reads every file once."""

    def __init__(self, loader: DataLoader, views: Callable[[dict], object]) -> None:
        self.loader, self.views = loader, views

    def __call__(self) -> None:
        """Iterate over the loader."""
        for batch in self.loader:
            self.views(batch)


def ours(folder: str, size: int, loading: dict) -> Epoch:
    """Loader and batched views of this project."""
    dataset = FolderDataset(data_root=folder, image_size=round(size * DECODED))
    transforms = simclr_views(size, blur=True)
    transforms[0]["size"] = size
    views = MultiViewPreprocessor(MEAN, STD, [dict(transforms=transforms, repeats=VIEWS)])
    views.to(get_device())
    return Epoch(
        DataLoader(dataset, collate_fn=collate_batch, **loading), lambda batch: views(batch, training=True)
    )


def decoded(dataset: dict, loading: dict) -> Epoch:
    """Loader of a data set of this project, without views."""
    return Epoch(DataLoader(DATASETS.build(dataset), collate_fn=collate_batch, **loading), lambda batch: None)


def mmpretrain(folder: str, size: int, loading: dict, views: int = VIEWS) -> Epoch:
    """MMPretrain's loader, which draws the views in its workers; with one view, a crop and a flip."""
    from mmpretrain.datasets import CustomDataset
    from mmpretrain.models import SelfSupDataPreprocessor
    from mmpretrain.registry import TRANSFORMS

    TRANSFORMS.import_from_location()
    if views == 1:
        crop = dict(type="RandomResizedCrop", scale=size, crop_ratio_range=SCALE, backend="cv2")
        transforms = [
            *map(TRANSFORMS.build, (crop, dict(type="RandomFlip", prob=0.5), dict(type="PackInputs")))
        ]
    else:
        transforms = [*mmpretrain_views(size, blur=True)]
    read = TRANSFORMS.build(dict(type="LoadImageFromFile"))
    loader = DataLoader(
        CustomDataset(data_root=folder, pipeline=[read, *transforms]), collate_fn=default_collate, **loading
    )
    if views == 1:
        return Epoch(loader, lambda batch: None)
    bytes_of = [[255 * value for value in values] for values in (MEAN, STD)]
    preprocessor = SelfSupDataPreprocessor(*bytes_of, to_rgb=True).to(get_device())
    return Epoch(loader, lambda batch: preprocessor(batch, training=True))
