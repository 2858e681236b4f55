"""``benchmark.py files``: from photographs in files to batches of two views, here and in MMPretrain."""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import default_collate
from PIL import Image
from rich.console import Console
from torch.utils.data import DataLoader

from ssl_ext.benchmarks.augment import MMPRETRAIN, OURS, VIEWS, mmpretrain_views, simclr_views
from ssl_ext.benchmarks.pairs import PEERS, Comparison, add_numbers, add_pairs, compare, say, show
from ssl_ext.benchmarks.step import torch_threads
from ssl_ext.datasets import FolderDataset, collate_batch
from ssl_ext.models import MultiViewPreprocessor

HELP = "from photographs in files to batches of two views, here and in MMPretrain"
WORKERS = f"{OURS}, without the views"
# The mean size of ImageNet's photographs, and the size at which ours leave the workers.
PHOTOGRAPH = (500, 375)
QUALITY = 90
DECODED = 256 / 224
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def benchmark_files(
    *,
    batch_size: int = 64,
    steps: int = 2,
    size: int = 224,
    workers: int = 2,
    pairs: int = 5,
    threads: int | None = None,
) -> Comparison:
    """Time two normalised views of every JPEG file, with as many worker processes; items are images.

    Ours decodes an image once in a worker, hands over its centre as bytes, at 256 px for views of 224 px (as
    ``configs/_base_/datasets/imagenet-256px.py``), and draws the views of a whole batch on the device; a
    third time is without them, for where a GPU draws them while the workers read on.
    MMPretrain decodes once, and draws every view in the worker by OpenCV, out of the whole photograph and
    without antialiasing. Workers live on from round to round.

    Raises:
        ValueError: A number out of range.
    """
    if min(batch_size, steps, size, 1 if threads is None else threads) < 1 or workers < 0:
        raise ValueError(
            "batch_size, steps, size and threads must be at least 1 and workers at least 0, got "
            f"{batch_size}, {steps}, {size}, {threads} and {workers}"
        )
    with tempfile.TemporaryDirectory() as folder, torch_threads(threads):
        write_photographs(Path(folder) / "photographs", batch_size * steps)
        loading = dict(
            batch_size=batch_size, num_workers=workers, persistent_workers=workers > 0, pin_memory=_on_gpu()
        )
        ours = _ours(folder, size, loading)
        handed_over = _Epoch(_ours(folder, size, loading).loader, lambda batch: None)
        ways = {MMPRETRAIN: _mmpretrain(folder, size, loading), OURS: ours, WORKERS: handed_over}
        result = compare(
            ways, reference=MMPRETRAIN, pairs=pairs, warmup=1, items=batch_size * steps, unit="images"
        )
        for way in ways.values():
            way.loader._iterator = None  # ends the workers
        return result


def write_photographs(folder: Path, count: int) -> None:
    """Write JPEG files of smooth random colours with a little noise, some 70 KiB each."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (47, 62, 3), np.uint8))
        pixels = np.asarray(coarse.resize(PHOTOGRAPH, Image.Resampling.BICUBIC), np.int16)
        noise = random.integers(-6, 7, pixels.shape[:2] + (1,))
        image = Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))
        image.save(folder / f"{number:05}.jpg", quality=QUALITY)


class _Epoch:
    """Reads every file once when it is called."""

    def __init__(self, loader: DataLoader, views: Callable[[dict], object]) -> None:
        self.loader, self.views = loader, views

    def __call__(self) -> None:
        for batch in self.loader:
            self.views(batch)


def _on_gpu() -> bool:
    return torch.cuda.is_available()


def _ours(folder: str, size: int, loading: dict) -> _Epoch:
    dataset = FolderDataset(data_root=folder, image_size=round(size * DECODED))
    transforms = simclr_views(size, blur=True)
    transforms[0]["size"] = size
    views = MultiViewPreprocessor(MEAN, STD, [dict(transforms=transforms, repeats=VIEWS)])
    views.to("cuda" if _on_gpu() else "cpu")
    return _Epoch(
        DataLoader(dataset, collate_fn=collate_batch, **loading), lambda batch: views(batch, training=True)
    )


def _mmpretrain(folder: str, size: int, loading: dict) -> _Epoch:
    from mmpretrain.datasets import CustomDataset
    from mmpretrain.models import SelfSupDataPreprocessor
    from mmpretrain.registry import TRANSFORMS

    transforms = mmpretrain_views(size, blur=True)
    read = TRANSFORMS.build(dict(type="LoadImageFromFile"))
    dataset = CustomDataset(data_root=folder, pipeline=[read, *transforms])
    bytes_of = [[255 * value for value in values] for values in (MEAN, STD)]
    preprocessor = SelfSupDataPreprocessor(*bytes_of, to_rgb=True).to("cuda" if _on_gpu() else "cpu")
    return _Epoch(
        DataLoader(dataset, collate_fn=default_collate, **loading),
        lambda batch: preprocessor(batch, training=True),
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    add_numbers(
        parser,
        ("batch-size", 64, "images per step"),
        ("size", 224, "side of the views in pixels"),
        ("steps", 2, "batches of files"),
        ("workers", 2, "worker processes of each data loader"),
    )
    add_pairs(parser)


def run(console: Console, **settings: Any) -> dict[str, Any]:
    """Measure, print the table, return the figures."""
    comparison = benchmark_files(**settings)
    title = "files: batch {batch_size}, views of {size} px, workers: {workers}".format(**settings)
    show(comparison, title, *PEERS, console=console)
    say(console, "photographs: {} x {} px, JPEG of quality {}".format(*PHOTOGRAPH, QUALITY))
    return comparison.figures()
