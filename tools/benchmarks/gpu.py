"""``benchmark.py gpu``: steps of several methods on a GPU, captured and eager.

Every method runs as in ``tools/train.py``, on random images on the device. Also measured: the network passes
of its step alone, replayed; an epoch of Barlow Twins in lightly and MMPretrain; a linear probe.
Without a GPU everything runs on the CPU, replayed by the tape, to test the command.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from rich.console import Console

from ssl_ext.errors import UserError
from ssl_ext.evaluation import linear_probe
from ssl_ext.files import write_text
from ssl_ext.json_files import read_json

from .compare import table, timed
from .gpu_measure import EPOCHS, measure_step
from .gpu_views import time_views
from .options import CONFIGS, add_numbers
from .workload import CLASSES, Contender, Start, Workload, start_ours, training_config, with_contenders

METHODS = {
    "trimix": CONFIGS / "trimix/trimix_resnet18_1xb256-adam-200e_cifar10.py",
    "barlow-twins": CONFIGS / "barlow_twins/barlow-twins_resnet18_1xb256-adam-200e_cifar10.py",
    "moco": CONFIGS / "moco/moco_resnet18_1xb256-adam-200e_cifar10.py",
    "byol": CONFIGS / "byol/byol_resnet18_1xb256-adam-200e_cifar10.py",
    "amix": CONFIGS / "amix/amix_resnet18_1xb100-sgd-800e_cifar100.py",
}
PEERS = ("lightly", "mmpretrain")
PRECISIONS = {"float32": {}, "bfloat16": {"optim_wrapper.type": "BFloat16OptimWrapper"}}
MODES = {"captured": {}, "eager": dict(captured_step=False)}
COMPILED = "captured, compiled"
COLUMNS = {
    "images_per_second": "images/s",
    "ms": "ms/step",
    "passes_ms": "passes alone",
    "over_passes": "× passes",
    "outside_ms": "outside, ms",
    "busy": "GPU busy",
    "kernels": "kernels",
    "waits": "waits",
    "peak_reserved_mib": "MiB",
}
LARGE = 96  # side of the images of STL-10, above that of the views' kernel
WIDTH = 150  # of a table in a file or pipe
Cell = Callable[[], dict[str, Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_numbers(
        parser,
        ("batch-size", 256, "images per step"),
        ("size", 32, "side of the images in pixels"),
        ("steps", 100, "steps per epoch", 4),
        ("workers", 8, "worker processes of the peers' data loaders", 0),
        ("rows", 50_000, "features of the linear probe"),
        ("seconds", 240, "start nothing new after this time"),
        pairs=None,
    )
    parser.add_argument("--all", action="store_true", help="every method with a config for CIFAR")
    parser.add_argument("--only", nargs="+", default=[""], metavar="TEXT", help="cells whose name has a TEXT")
    text = "JSON file of finished cells, which are not measured again; written after each cell"
    parser.add_argument("--cells", metavar="FILE", help=text)


def run(
    console: Console, *, seconds: int, only: list[str], cells: str | None, rows: int, **settings: Any
) -> dict[str, Any]:
    """Measure, print a table, return the figures.

    Raises:
        UserError: No cell has a text of ``only`` in its name.
    """
    path, start = Path(cells) if cells else None, time.monotonic()
    found: dict[str, dict] = {}
    if path and path.exists():
        found = read_json(path, dict[str, dict], "a JSON file of finished cells")
    available = dict(all_cells(rows=rows, **settings))
    plan = {name: cell for name, cell in available.items() if any(text in name for text in only)}
    if not plan:
        raise UserError(f"--only is {' '.join(only)!r}, in no name of {'; '.join(available)}.")
    for name, cell in plan.items():
        if name in found and "error" not in found[name]:
            continue
        begun = time.monotonic()
        if begun - start > seconds:
            console.print(f"Stopped after {seconds} s, before {name}.", highlight=False)
            break
        try:
            figures = cell()
        except Exception as error:
            figures = dict(error=f"{type(error).__name__}: {str(error)[:500]}")
        found[name] = dict(figures, cell_s=time.monotonic() - begun)
        console.print(f"{name}: {_sentence(found[name])}", soft_wrap=True, highlight=False)
        if path:
            write_text(path, json.dumps(found, indent=2))
    made = table("gpu: a training step", "method, precision, mode", *COLUMNS.values())
    for name, figures in found.items():
        if "ms" in figures:
            values = (figures.get(key) for key in COLUMNS)
            made.add_row(name, *("" if value is None else f"{value:,.2f}" for value in values))
    if not console.is_terminal:
        console.width = max(console.width, WIDTH)
    console.print(made)
    return dict(cells=found)


def all_cells(
    *, batch_size: int, size: int, steps: int, workers: int, rows: int, all: bool
) -> Iterator[tuple[str, Cell]]:
    """Names and measurements, the most important ones first."""

    def step(config: Path, changes: dict, alone: bool = True) -> Cell:
        return lambda: step_figures(config, changes, batch_size, size, steps, alone)

    methods = dict(METHODS)
    if all:
        methods |= {name: path for name, path in every_method() if path not in METHODS.values()}
    for mode, how in MODES.items():
        for method, config in methods.items():
            for precision, what in reversed(PRECISIONS.items()):
                yield f"{method}, {precision}, {mode}", step(config, {**how, **what})
        if mode == "captured":
            if torch.cuda.is_available():
                yield "two views of a batch", lambda: dict(time_views(batch_size, size))
                for form in ("", ", compiled"):
                    large = partial(time_views, batch_size, LARGE, compiled=bool(form), calls=10)
                    yield f"two views of a batch, {LARGE} px{form}", large
            yield "linear probe", lambda: probe_figures(rows)
            yield "peers", lambda: peer_figures(batch_size, size, steps, workers)
            changes = {**PRECISIONS["bfloat16"], "compile": True}
            yield f"trimix, bfloat16, {COMPILED}", step(METHODS["trimix"], changes, alone=False)


def every_method() -> Iterator[tuple[str, Path]]:
    """Yield for each model type its name and a CIFAR config with ResNet-18."""
    seen = set()
    for path in sorted(CONFIGS.glob("*/*_resnet18_*_cifar10*.py")):
        kind = Config.fromfile(path).model.type
        if kind not in seen:
            seen.add(kind)
            yield path.stem.partition("_")[0], path


def step_figures(
    config: Path, changes: dict, batch_size: int, size: int, steps: int, alone: bool
) -> dict[str, Any]:
    """Figures of a step of a config with ``changes``."""
    device = "cuda" if torch.cuda.is_available() else None
    if not device:
        changes = {"captured_step": "dry", **changes}
    work = Workload(training_config(config, "cifar"), batch_size, size, steps, epochs=2 + EPOCHS)
    return _lent(
        work,
        lambda work, use: start_ours(work, use, changes=changes, device=device),
        lambda contender: measure_step(contender, steps, alone=alone),
    )


def _lent(work: Workload, start: Start, measure: Callable[[Contender], dict]) -> dict[str, Any]:
    figures: list[dict] = []
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    with_contenders(work, [start], lambda contenders: figures.append(measure(contenders[0])))
    return figures[0]


def peer_figures(batch_size: int, size: int, steps: int, workers: int) -> dict[str, Any]:
    """Seconds of an epoch of Barlow Twins, here and in the peers, with images in host memory.

    All in float32, as in the peers' examples; here also in bfloat16.
    """
    from .peers import peers_config

    config = peers_config(METHODS["barlow-twins"], "cifar", batch_size)
    work = Workload(config, batch_size, size, steps, workers, epochs=2)

    def epoch(contender: Contender) -> dict[str, Any]:
        contender.epoch()
        seconds = timed(contender.epoch)
        return dict(epoch_s=seconds, images_per_second=batch_size * steps / seconds)

    figures = {}
    for precision, changes in PRECISIONS.items():
        start = partial(start_ours, changes=changes)
        figures[f"ours, {precision}"] = _lent(work, start, epoch)
    for name in PEERS:
        try:
            peer = getattr(import_module(f".peers_{name}", __package__), f"start_{name}")
            figures[name] = _lent(work, peer, epoch)
        except Exception as error:
            figures[name] = dict(error=f"{type(error).__name__}: {str(error)[:300]}")
    return figures


def probe_figures(rows: int) -> dict[str, Any]:
    """Seconds of a linear probe by SGD, 100 epochs on random features (rows, 512), after a warm-up run."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    features = torch.randn(rows, 512, device=device)
    labels = torch.randint(CLASSES, (rows,), device=device)
    recipe = dict(solver="sgd", epochs=100, batch_size=256, lr=1e-3, momentum=0.9, weight_decay=1e-6)
    first, second = (
        timed(lambda: linear_probe(features, labels, num_classes=CLASSES, **recipe)) for _ in range(2)
    )
    return dict(seconds=second, first_s=first, rows=rows)


def _sentence(figures: dict[str, Any]) -> str:
    return ", ".join(f"{key} {_text(value)}" for key, value in figures.items())


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return f"({_sentence(value)})"
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return str(value)
