"""``benchmark.py scaling``: a step in one and in two processes, what it sends, a projection to many GPUs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmengine.config import Config
from rich.console import Console

from .pairs import add_numbers, add_pairs, environment_line
from .projection import Cluster, Projection, project
from .scaling_measure import WORLD, Scaling, benchmark_scaling, measured_model
from .scaling_tables import prediction_table, projection_table, time_table, traffic_table
from .step import STEMS, step_config
from .traffic import NormPass, gradient_collectives, moved_bytes, norm_collectives
from .traffic_formulas import loss_collectives, similarities

HELP = "a training step in one process and in two, what it sends, and a projection to many GPUs"
CONFIG = Path(__file__).parents[2] / "configs/barlow_twins/barlow-twins_resnet18_1xb256-adam-200e_cifar10.py"
GPU_STEP_MS = 20.0
# Option, field of the cluster and its unit, help.
ASSUMPTIONS = (
    ("gpus-per-node", "gpus_per_node", 1, "GPUs that NVLink connects"),
    ("node-gbs", "node_bandwidth", 1e9, "GB/s that a GPU sends within its node, 80%% of NVLink's 450"),
    ("network-gbs", "network_bandwidth", 1e9, "GB/s that a GPU sends to other nodes, 80%% of 400 Gb/s"),
    ("launch-us", "launch", 1e-6, "microseconds that a collective takes to start"),
    ("node-hop-us", "node_hop", 1e-6, "microseconds from GPU to GPU within a node"),
    ("network-hop-us", "network_hop", 1e-6, "microseconds from node to node"),
    ("backward", "backward", 1, "share of a step that is its backward pass"),
    ("memory-gbs", "memory_bandwidth", 1e9, "GB/s of a GPU's memory, for similarities"),
    ("tflops", "flops", 1e12, "float32 TFLOP/s of a GPU, for similarities"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is measured, and the assumptions of the projection with their defaults."""
    parser.add_argument("--config", default=str(CONFIG), help="pretraining config (Barlow Twins, CIFAR-10)")
    parser.add_argument("--stem", metavar="NAME", help=f"{' '.join(STEMS)} (the config's)")
    add_numbers(
        parser,
        ("batch-size", 64, "images per process"),
        ("size", 32, "side of the images in pixels"),
        ("steps", 4, "steps per measurement"),
    )
    add_pairs(parser)
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds that an answer may take (600)")
    parser.add_argument("--gpus", type=int, nargs="+", default=[8, 64, 512], help="to project to (8 64 512)")
    step = f"milliseconds that a step of one GPU is assumed to take ({GPU_STEP_MS:g})"
    parser.add_argument("--gpu-step-ms", type=float, default=GPU_STEP_MS, help=step)
    parser.add_argument("--gpu-batch-size", type=int, help="images of that step (the config's batch size)")
    for option, field, unit, text in ASSUMPTIONS:
        value = getattr(Cluster, field)
        kind, shown = type(value), round(value / unit, 3)
        parser.add_argument(f"--{option}", type=kind, default=kind(shown), help=f"{text} ({shown:g})")


def run(console: Console, **settings: Any) -> dict:
    """Measure, print the tables and return all figures.

    Raises:
        UserError: Bad config, or an algorithm without a formula.
        ValueError: A number out of range.
        RuntimeError: A process failed.
    """
    cluster = Cluster(
        **{field: settings.pop(key.replace("-", "_")) * unit for key, field, unit, _ in ASSUMPTIONS}
    )
    worlds, step_ms, images = (settings.pop(key) for key in ("gpus", "gpu_step_ms", "gpu_batch_size"))
    for world in worlds:
        cluster.shape(world)
    if not step_ms > 0 or (images is not None and images < 2):
        raise ValueError(
            f"gpu_step_ms must be above 0 and gpu_batch_size at least 2, got {step_ms}, {images}"
        )
    scaling = benchmark_scaling(**settings)
    config = step_config(settings["config"], settings["stem"], batch_size=settings["batch_size"])
    images = images or config.train_dataloader.batch_size
    projections = project_config(
        config, cluster, worlds, alone=step_ms / 1e3, batch_size=images, norms=scaling.norms
    )
    subject = Path(str(settings["config"])).stem
    subject += f", {settings['stem']} stem" if settings["stem"] else ""
    console.print(time_table(scaling, f"scaling: {subject}, {settings['size']} px"))
    console.print(traffic_table(scaling))
    console.print(prediction_table(scaling))
    console.print(projection_table(projections, f"{step_ms:g} ms a step of {images} images"))
    console.print(environment_line("onedl-mmengine"), soft_wrap=True, highlight=False)
    return figures(scaling, cluster, projections)


def project_config(
    config: Config,
    cluster: Cluster,
    worlds: Sequence[int],
    *,
    alone: float,
    batch_size: int,
    norms: Sequence[NormPass],
) -> list[Projection]:
    """Project the step of a config to numbers of GPUs.

    Args:
        config: The config.
        cluster: The machine.
        worlds: Numbers of GPUs.
        alone: Seconds of a step on one GPU.
        batch_size: Images of that step.
        norms: Passes through batch normalisations in a step.
    """
    model, settings = measured_model(config), config.model
    return [
        project(
            cluster,
            world,
            alone=alone,
            gradients=gradient_collectives(model),
            losses=loss_collectives(model, settings, batch_size, world),
            norms=norm_collectives(norms, world),
            similarities=similarities(model, settings, batch_size),
        )
        for world in worlds
    ]


def figures(scaling: Scaling, cluster: Cluster, projections: Sequence[Projection]) -> dict:
    """Everything that was measured, counted and predicted, in plain containers."""
    parts = dict(
        counted=scaling.counted,
        gradients=scaling.gradients,
        losses=scaling.losses,
        norms=norm_collectives(scaling.norms, WORLD),
    )
    return dict(
        seconds={name: list(values) for name, values in scaling.seconds.items()},
        efficiency=scaling.efficiencies(),
        traffic={
            name: dict(collectives=[c._asdict() for c in found], sent_bytes=moved_bytes(found, WORLD))
            for name, found in parts.items()
        },
        predicted_seconds={
            how: scaling.predictions(hidden=hidden)
            for how, hidden in (("nothing hidden", False), ("gradients hidden", True))
        },
        link=dict(asdict(scaling.link), samples=scaling.link_samples),
        cluster=asdict(cluster),
        projections=[
            dict(asdict(p), exposed=p.exposed, step=p.step, efficiency=p.efficiency) for p in projections
        ],
        batch_size=scaling.batch_size,
        threads=scaling.threads,
        backend=scaling.backend,
        peak_resident_bytes=scaling.peak_resident,
        peak_device_bytes=scaling.peak_device,
    )
