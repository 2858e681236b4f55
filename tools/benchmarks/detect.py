"""``benchmark.py detect``: epochs of a detector here and in the loop of torchvision's reference.

Both train the same Faster R-CNN (equal weights at the start) by SGD on the same JPEG files. The reference is
``references/detection`` of torchvision: images are decoded, flipped and converted to floats in the workers,
resized and normalised by ``GeneralizedRCNNTransform``, and every step reads the losses on the host.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import math
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner, set_random_seed
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.transforms import v2

from ssl_ext.apis import build_model, load_config
from ssl_ext.datasets.decode import read_image
from ssl_ext.detection import VOCDetection, initialize
from ssl_ext.env import peak_resident_bytes

from .compare import MIB, compare, show
from .files import PHOTOGRAPH, write_photographs
from .options import CONFIGS, add_numbers
from .workload import OURS, Contender, build_optimizer, lend_runner

REFERENCE = "torchvision"
DEFAULT = CONFIGS / "benchmarks/detection/random_resnet18-w16-c4_1xb4-sgd-1k_bccd.py"
BOX = "<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>"
OBJECT = f"<object><name>{{}}</name>{BOX}</object>"
BOXES = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", default=str(DEFAULT), help=f"config of the detector ({DEFAULT.stem})")
    add_numbers(
        parser,
        ("batch-size", 4, "images per step"),
        ("steps", 4, "steps per epoch"),
        ("workers", 0, "worker processes of each data loader", 0),
    )


@dataclass(frozen=True)
class Detection:
    """The work: the detector of a config, trained on the images of a folder in VOC's format."""

    config: Config
    folder: str
    batch_size: int
    workers: int
    epochs: int

    def loader_settings(self) -> dict:
        """Settings of both data loaders."""
        workers = dict(num_workers=self.workers, persistent_workers=self.workers > 0)
        return dict(workers, batch_size=self.batch_size, drop_last=True)

    def dataset(self) -> VOCDetection:
        """The annotated images."""
        return VOCDetection(self.folder, classes=self.config.train_dataloader.dataset.classes)


def run(
    console: Console, *, config: str, batch_size: int, steps: int, workers: int, pairs: int
) -> dict[str, Any]:
    """Measure, print a table and the peak memory of each, return the figures."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load_config(config)
        write_voc(Path(folder), batch_size * steps, settings.train_dataloader.dataset.classes)
        work = Detection(settings, folder, batch_size, workers, pairs + 1)
        found = []

        def measure(contenders: Sequence[Contender]) -> None:
            calls = {contender.name: contender.epoch for contender in contenders}
            found.append(
                compare(calls, reference=REFERENCE, pairs=pairs, items=batch_size * steps, unit="images")
            )

        with_both(work, measure)
        alone = dict(config=config, folder=folder, batch_size=batch_size, workers=workers)
        peaks = {name: peak_alone(name, **alone) for name in (REFERENCE, OURS)}
    shown = ", ".join(f"{name} {peak / MIB:,.0f} MiB" for name, peak in peaks.items())
    text = f"Peak resident memory of an epoch above that of the imported libraries: {shown}."
    show(console, found[0], f"{Path(config).stem}: batch {batch_size}, workers: {workers}", text)
    return dict(found[0].figures(), peak_bytes=peaks)


def write_voc(folder: Path, count: int, classes: Sequence[str]) -> None:
    """Write JPEG files with random boxes in VOC's format."""
    write_photographs(folder / "JPEGImages", count)
    (folder / "Annotations").mkdir()
    random = np.random.default_rng(0)
    for path in sorted((folder / "JPEGImages").iterdir()):
        corners = random.integers(1, np.array(PHOTOGRAPH) // 2, (BOXES, 2))
        sides = random.integers(20, np.array(PHOTOGRAPH) // 2, (BOXES, 2))
        boxes = np.concatenate([corners, corners + sides], 1).tolist()
        objects = [OBJECT.format(classes[n % len(classes)], *box) for n, box in enumerate(boxes)]
        text = f"<annotation>{''.join(objects)}</annotation>"
        (folder / "Annotations" / f"{path.stem}.xml").write_text(text)


def with_both(work: Detection, use: Callable[[Sequence[Contender]], None], only: str | None = None) -> None:
    """Call ``use`` with both contenders, or with the one that is named."""
    config = copy.deepcopy(work.config)
    config.custom_hooks = []
    config.default_hooks["checkpoint"] = None
    config.train_cfg = dict(by_epoch=True, max_epochs=work.epochs)
    config.log_processor = dict(by_epoch=True)
    config.train_dataloader.update(work.loader_settings(), sampler=dict(type="DefaultSampler", shuffle=True))
    with contextlib.redirect_stdout(io.StringIO()), DefaultScope.overwrite_default_scope("ssl_ext"):
        initialize(config)
        config.randomness["seed"] = set_random_seed(0)
        model, dataset = build_model(config), work.dataset()
        reference = [] if only == OURS else [start_reference(work, config, copy.deepcopy(model), dataset)]
        if only == REFERENCE:
            return use(reference)
        loader = Runner.build_dataloader(dict(config.train_dataloader, dataset=dataset), seed=0)
        if loader.persistent_workers:
            loader.generator = torch.Generator()
        lend_runner(config, model, loader, OURS, lambda ours: use([*reference, ours]))
    return None


class Features(nn.Module):
    """Trunk of a detector of this project in torchvision's interface."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Feature maps by name."""
        return self.model.extract_features(images)


class ReferenceData(Dataset):
    """Samples as torchvision's reference prepares them: flipped images in [0, 1] and targets."""

    def __init__(self, dataset: VOCDetection, flip: float) -> None:
        self.dataset = dataset
        steps = [v2.ToImage(), v2.RandomHorizontalFlip(flip), v2.ToDtype(torch.float32, scale=True)]
        self.transform = v2.Compose(steps)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return one image (3, H, W) and its target, whose labels are counted from 1."""
        record = self.dataset.records[index]
        boxes = tv_tensors.BoundingBoxes(record.boxes, format="XYXY", canvas_size=record.size)
        target = dict(boxes=boxes, labels=torch.tensor(record.labels) + 1)
        return self.transform(read_image(record.image), target)


def start_reference(work: Detection, config: Config, model: Any, dataset: VOCDetection) -> Contender:
    """Return the loop of torchvision's ``references/detection`` with the modules of ``model``."""
    given = config.model.data_preprocessor
    transform = GeneralizedRCNNTransform(
        list(given.short_sides),
        given.max_size,
        given.mean,
        given.std,
        size_divisible=given.get("size_divisible", 32),
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    detector = GeneralizedRCNN(Features(model), model.rpn, model.roi_heads, transform).to(device).train()
    optimizer = build_optimizer(config, model)
    data = ReferenceData(dataset, given.get("flip", 0.5))
    collate = lambda batch: tuple(zip(*batch, strict=True))  # noqa: E731
    loader = DataLoader(data, shuffle=True, collate_fn=collate, **work.loader_settings())
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer, 1e-3, total_iters=100)

    def epoch() -> None:
        for images, targets in loader:
            on_device = [{name: value.to(device) for name, value in target.items()} for target in targets]
            terms = detector([image.to(device) for image in images], on_device)
            total = sum(terms.values())
            if not math.isfinite(total.item()):
                raise FloatingPointError(f"Loss is {total.item()}")
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            warmup.step()

    return Contender(REFERENCE, epoch, detector, optimizer, loader)


def peak_alone(name: str, **settings: Any) -> int:
    """Bytes that an epoch of one contender needs above the imported libraries, in a new process."""
    threads = (torch.get_num_threads(),)
    with ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, threads) as pool:
        return pool.submit(_peak, name, **settings).result()


def _peak(name: str, config: str, folder: str, batch_size: int, workers: int) -> int:
    libraries = peak_resident_bytes()
    work = Detection(load_config(config), folder, batch_size, workers, 1)
    with_both(work, lambda contenders: contenders[0].epoch(), only=name)
    return peak_resident_bytes() - libraries
