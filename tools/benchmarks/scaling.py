"""``benchmark.py scaling``: weak and strong scaling of a step over two processes, and its traffic."""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import set_random_seed
from rich.console import Console
from torch import nn

from ssl_ext.apis import load_config
from ssl_ext.cli.launch import stay_on_loopback
from ssl_ext.env import peak_resident_bytes
from ssl_ext.errors import UserError

from .compare import MIB, WARMUP, peaks_text, ratio, statistics, table, timed
from .options import CONFIGS
from .traffic import CollectiveCounter, Traffic, sent_bytes
from .workload import (
    add_training,
    build_optimizer,
    model_in_training,
    random_batch,
    train_step,
    training_config,
)

CONFIG = CONFIGS / "barlow_twins/barlow-twins_resnet18_1xb256-adam-200e_cifar10.py"
START_METHOD = "spawn"  # a forked process cannot use a GPU that its parent has used
WORLD = 2
DATASET = 50_000  # entries of memory banks
SETTLING = 2  # steps after which DDP keeps its buckets
ALONE, HALF = "one process", "one process, half a batch"
APART, WEAK, STRONG = "two, no communication", "two, DDP", "two, DDP, half a batch each"
# Number of active processes, divisor of the batch size, whether gradients are reduced.
ARRANGEMENTS = {
    ALONE: (1, 1, False),
    APART: (2, 1, False),
    WEAK: (2, 1, True),
    STRONG: (2, 2, True),
    HALF: (1, 2, False),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", default=str(CONFIG), help="pretraining config (Barlow Twins, CIFAR-10)")
    add_training(parser, ("steps", 4, "steps per measurement"), batch_size=64)
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds to wait for a process (600)")
    text = "measure nothing; write the page of bytes per step and the projection to many GPUs"
    parser.add_argument("--page", metavar="FILE", help=text)


def run(
    console: Console, *, config: str, stem: str | None, page: str | None, batch_size: int, **settings: Any
) -> dict[str, Any]:
    """Measure and print, or write the page; return the figures.

    Raises:
        UserError: Bad config, an odd batch, a timeout that is not positive.
    """
    if page:
        from .projection import write_page

        return dict(rows=write_page(page))
    if batch_size < 4 or batch_size % 2:
        raise UserError(
            f"--batch-size is {batch_size}; it must be even (strong scaling halves it) and at least 4."
        )
    if not settings["timeout"] > 0:
        raise UserError(f"--timeout is {settings['timeout']}; it must be above 0 s.")
    figures = measure(training_config(config, stem), batch_size=batch_size, **settings)
    show(
        console,
        figures,
        f"scaling: {Path(config).stem}{f', {stem} stem' if stem else ''}, {settings['size']} px",
    )
    return figures


def measure(config: Config, *, timeout: float, dataset: int = DATASET, **settings: Any) -> dict[str, Any]:
    """Time ``steps`` steps in each of ``ARRANGEMENTS`` in turn, and count the traffic of a joined step.

    Torch's threads are divided among the processes. Seconds are per step, of the slower process.

    Raises:
        torch.multiprocessing.ProcessRaisedException: A process failed; the other one is terminated.
    """
    threads = max(1, torch.get_num_threads() // WORLD)
    with tempfile.TemporaryDirectory() as folder:
        arguments = dict(settings, dataset=dataset, threads=threads)
        mp.start_processes(
            _process, (folder, config.to_dict(), timeout, arguments), WORLD, start_method=START_METHOD
        )
        figures = json.loads(Path(folder, "figures.json").read_text())
    seconds = figures["seconds"]
    figures["efficiency"] = {
        "weak": ratio(seconds[ALONE], seconds[WEAK]),
        "strong": ratio(seconds[ALONE], seconds[STRONG], 1 / WORLD),
        "without communication (shared memory and cores)": ratio(seconds[ALONE], seconds[APART]),
        "communication": ratio(seconds[APART], seconds[WEAK]),
    }
    return figures


def _process(rank: int, folder: str, config: dict, timeout: float, settings: dict[str, Any]) -> None:
    stay_on_loopback()
    warnings.filterwarnings("ignore", "Grad strides do not match")  # of 1 x 1 convolutions, channels_last
    torch.set_num_threads(settings["threads"])
    on_gpu = torch.cuda.device_count() >= WORLD
    device = torch.device("cuda", rank) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(rank)
    # A file store, as a TCP store would listen on all network interfaces.
    store, limit = dist.FileStore(f"{folder}/store", WORLD), timedelta(seconds=timeout)
    backend = "nccl" if on_gpu else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=WORLD, timeout=limit)
    waiting = dist.new_group(backend="gloo", timeout=limit)  # a process that waits in it does not compute

    def gathered(value: Any) -> list:
        values = [None] * WORLD
        dist.all_gather_object(values, value, group=waiting)
        return values

    batch, steps = settings["batch_size"], settings["steps"]
    step = ScaledStep(load_config(Config(config)), batch, settings["size"], settings["dataset"], device)
    traffic = step.count(steps)
    seconds: dict[str, list[float]] = {name: [] for name in ARRANGEMENTS}
    for turn in range(WARMUP + settings["pairs"]):
        for name, (processes, divisor, joined) in ARRANGEMENTS.items():
            gathered(None)
            taken = step.seconds(batch // divisor, steps, joined) if rank < processes else 0.0
            slower = max(gathered(taken))
            if turn >= WARMUP:
                seconds[name].append(slower)
    peaks = gathered((peak_resident_bytes(), torch.cuda.max_memory_allocated() if on_gpu else 0))
    if rank == 0:
        figures = dict(
            seconds=seconds,
            traffic=[dict(kind=kind, size=size, calls=calls) for (kind, size), calls in traffic.items()],
            sent_bytes=sent_bytes(traffic, WORLD),
            batch_size=batch,
            threads=settings["threads"],
            backend=backend,
            peak_resident_bytes=max(resident for resident, _ in peaks),
            peak_device_bytes=max(peak for _, peak in peaks) if on_gpu else None,
        )
        Path(folder, "figures.json").write_text(json.dumps(figures))
    gathered(None)
    dist.destroy_process_group()


class ScaledStep:
    """Steps of a bare model and of an equal model under DDP, on precomputed views.

    All processes use the same random numbers, except for the images.
    """

    def __init__(
        self, config: Config, batch_size: int, size: int, dataset: int, device: torch.device | str = "cpu"
    ) -> None:
        self.bare, self.joined = (model_in_training(config, dataset=dataset, device=device) for _ in range(2))
        options = {}
        if torch.device(device).type == "cuda":
            self.joined = nn.SyncBatchNorm.convert_sync_batchnorm(self.joined)
            options["device_ids"] = [device]
        network = MMDistributedDataParallel(module=self.joined, broadcast_buffers=False, **options)
        self.losses = [partial(module, mode="loss") for module in (self.bare, network)]
        self.optimizers = [build_optimizer(config, model) for model in (self.bare, self.joined)]
        # Steps of each model: joined processes must update centroids in the same step.
        self.taken = [0, 0]
        set_random_seed(dist.get_rank())
        batch = random_batch(self.bare, batch_size, size, dataset)
        data = self.bare.data_preprocessor(batch, training=True)
        self.views, self.samples = data["inputs"], data["data_samples"]

    def take(self, batch_size: int, joined: bool) -> None:
        """Run a training step on the first ``batch_size`` images."""
        views = [view[:batch_size] for view in self.views]
        samples = {name: values[:batch_size] for name, values in self.samples.items()}
        self.taken[joined] += 1
        model = self.joined if joined else self.bare
        train_step(self.losses[joined], model, self.optimizers[joined], self.taken[joined], views, samples)

    def seconds(self, batch_size: int, steps: int, joined: bool) -> float:
        """Mean seconds of a step; without ``joined`` the process group is hidden from torch."""

        def call() -> None:
            for _ in range(steps):
                self.take(batch_size, joined)

        if joined:
            return timed(call) / steps
        with mock.patch.object(dist, "is_initialized", return_value=False):
            return timed(call) / steps

    def count(self, steps: int) -> Traffic:
        """Count the collectives of a joined step on all images, averaged over ``steps``."""
        for _ in range(SETTLING):
            self.take(len(self.views[0]), True)
        with CollectiveCounter() as counter:
            for _ in range(steps):
                self.take(len(self.views[0]), True)
        return counter.per_step(steps)


def show(console: Console, figures: dict[str, Any], title: str) -> None:
    """Print times, efficiencies and the traffic of a step."""
    seconds, batch = figures["seconds"], figures["batch_size"]
    caption = f"{len(seconds[ALONE])} interleaved rounds, {figures['backend']}, torch threads per process: "
    caption += f"{figures['threads']}\n"
    caption += peaks_text(figures["peak_resident_bytes"], figures["peak_device_bytes"]) + " per process"
    made = table(title, "", "batch", "median ms", "min … max", "images/s", caption=caption)
    for name, values in seconds.items():
        processes, divisor, _ = ARRANGEMENTS[name]
        median, images = statistics.median(values), batch // divisor
        spread = f"{min(values) * 1e3:,.1f} … {max(values) * 1e3:,.1f}"
        rate = f"{processes * images / median:,.0f}"
        made.add_row(name, f"{processes} × {images}", f"{median * 1e3:,.1f}", spread, rate)
    made.add_section()
    for name, (median, low, high) in figures["efficiency"].items():
        made.add_row(f"efficiency, {name}", "", f"{median:.2f}", f"{low:.2f} … {high:.2f}", "")
    console.print(made)
    calls = sum(row["calls"] for row in figures["traffic"])
    sent = figures["sent_bytes"] / MIB
    console.print(f"Each process starts {calls:g} collectives per step and sends {sent:,.1f} MiB.")
