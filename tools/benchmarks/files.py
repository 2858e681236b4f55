"""``benchmark.py files``: from JPEG files to batches of two views, here and in MMPretrain."""

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

from ssl_ext.datasets import FolderDataset, collate_batch
from ssl_ext.models import MultiViewPreprocessor

from .augment import MMPRETRAIN, OURS, VIEWS, mmpretrain_views, simclr_views
from .compare import Comparison, compare, show
from .options import add_numbers

WORKERS = f"{OURS}, without the views"
# Mean size of ImageNet's images; size of the images from our workers, relative to the size of views.
PHOTOGRAPH = (500, 375)
QUALITY = 90
DECODED = 256 / 224
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_numbers(
        parser,
        ("batch-size", 64, "images per step"),
        ("size", 224, "side of the views in pixels"),
        ("steps", 2, "batches of files"),
        ("workers", 2, "worker processes of each data loader", 0),
    )


def run(console: Console, **settings: Any) -> dict[str, Any]:
    comparison = measure(**settings)
    title = "files: batch {batch_size}, views of {size} px, workers: {workers}".format(**settings)
    show(console, comparison, title, "images: {} x {} px, JPEG of quality {}".format(*PHOTOGRAPH, QUALITY))
    return comparison.figures()


def measure(*, batch_size: int, steps: int, size: int, workers: int, pairs: int) -> Comparison:
    """Time two normalised views of every JPEG file; items are images.

    Ours decodes an image once in a worker, returns its centre as bytes, at 256 px for views of 224 px (as
    ``configs/_base_/datasets/imagenet-256px.py``), and draws the views of a batch on the device; a third
    contender omits the views, for a GPU that draws them in parallel to the workers. MMPretrain decodes once
    and draws every view in the worker by OpenCV, from the whole image and without antialiasing.
    """
    with tempfile.TemporaryDirectory() as folder:
        write_photographs(Path(folder) / "photographs", batch_size * steps)
        loading = dict(batch_size=batch_size, num_workers=workers, persistent_workers=workers > 0)
        loading["pin_memory"] = torch.cuda.is_available()
        without_views = Epoch(ours(folder, size, loading).loader, lambda batch: None)
        calls = {
            MMPRETRAIN: mmpretrain(folder, size, loading),
            OURS: ours(folder, size, loading),
            WORKERS: without_views,
        }
        items = batch_size * steps
        result = compare(calls, reference=MMPRETRAIN, pairs=pairs, items=items, unit="images")
        for epoch in calls.values():
            epoch.loader._iterator = None  # stops the workers
        return result


def write_photographs(folder: Path, count: int) -> None:
    """Write JPEG files of smooth random colours with noise, about 70 KiB each."""
    folder.mkdir()
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


def mmpretrain(folder: str, size: int, loading: dict) -> Epoch:
    """MMPretrain's loader, which draws the views in its workers."""
    from mmpretrain.datasets import CustomDataset
    from mmpretrain.models import SelfSupDataPreprocessor
    from mmpretrain.registry import TRANSFORMS

    transforms = mmpretrain_views(size, blur=True)
    read = TRANSFORMS.build(dict(type="LoadImageFromFile"))
    dataset = CustomDataset(data_root=folder, pipeline=[read, *transforms])
    bytes_of = [[255 * value for value in values] for values in (MEAN, STD)]
    preprocessor = SelfSupDataPreprocessor(*bytes_of, to_rgb=True).to(get_device())
    return Epoch(
        DataLoader(dataset, collate_fn=default_collate, **loading),
        lambda batch: preprocessor(batch, training=True),
    )
