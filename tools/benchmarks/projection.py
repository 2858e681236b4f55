"""Page of ``benchmark.py scaling --page``: bytes per step of every method, projected waits on many GPUs."""

from __future__ import annotations

import math
import sys
from collections import Counter
from typing import NamedTuple

from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from ssl_ext.files import write_text

from .compare import MIB
from .memory import DATASET, WARMUP_BATCH, configs_of, update
from .options import CONFIGS
from .traffic import Traffic, norm_passes, norm_traffic, sent_bytes
from .workload import model_in_training, training_config

TESTS = CONFIGS.parent / "tests"
BATCH, SIZE = 256, 32
WORLDS = (8, 64, 512)
BANDWIDTH, START, HOP = 40e9, 10e-6, 5e-6  # bytes/s, s, s
PAGE = f"""# Scaling: bytes per step, and a projection to many GPUs

Written by `python tools/benchmark.py scaling --page tools/scaling.md`. `tests/bytes_per_step.py` has the
collectives of each algorithm in closed form; tests compare them with those counted in steps of every
algorithm on two processes. Measured scaling is in [README.md](README.md#scaling).

MiB sent by each GPU in a step on {BATCH} images per GPU (gradients and batch norms: W = {WORLDS[0]}):

- **gradients** are all-reduced, 4 bytes per trained weight;
- synchronised **batch norms** of C channels gather 2C + 1 numbers per GPU forward and reduce 2C backward;
- **losses** include queues, memory banks and clusters.

On a ring of W GPUs an all-reduce of S bytes sends 2 (W − 1)/W · S, an all-gather of S bytes in total
(W − 1)/W · S, a broadcast S.

**Wait** is the time of the collectives of batch norms and losses, on which the next operation depends. Each
is assumed to take {START * 1e6:g} µs + ⌈log₂ W⌉ · {HOP * 1e6:g} µs + bytes sent / {BANDWIDTH / 1e9:g} GB/s
(80 % of 400 Gb/s InfiniBand). Gradients are not included, as their reduction overlaps with the backward pass.
These figures are computed, not measured on GPUs, and neglect stragglers and congestion. Add the wait to the
measured time of a step: with 20 ms on one GPU a wait of 5 ms gives a weak-scaling efficiency of 0.8.

Small networks are limited by the latency of their batch norms. `norm_cfg=dict(type="SplitBN")` uses the
statistics of each GPU's images and needs no communication.

"""
HEADINGS = ("method", "gradients", "batch norms: calls", "MiB", "losses: calls")
COLUMNS = [
    *HEADINGS,
    *(f"MiB, W = {world}" for world in WORLDS),
    *(f"wait ms, W = {world}" for world in WORLDS),
]


class Sent(NamedTuple):
    """Traffic of a step on ``world`` GPUs, and size of the trained weights in bytes."""

    world: int
    weights: int
    norms: Traffic
    losses: Traffic

    @property
    def wait(self) -> float:
        """Total seconds of the collectives of batch norms and losses, in sequence."""
        found = Counter(self.norms)
        found.update(self.losses)
        start = START + math.ceil(math.log2(self.world)) * HOP
        return sum(found.values()) * start + sent_bytes(found, self.world) / BANDWIDTH


def write_page(path: str) -> list[list[str]]:
    """Write the page; return the rows of its table."""
    rows = [row(name, training_config(str(path), None)) for name, path in configs_of(None).items()]
    lines = [COLUMNS, ["---"] * len(COLUMNS), *rows]
    text = PAGE + "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    write_text(path, text)
    return rows


def row(name: str, config: Config) -> list[str]:
    """Table cells of a method, named as in ``benchmark.py memory``."""
    first, *_ = found = sent_on(config)
    mib = [f"{sent_bytes(each.losses, each.world) / MIB:,.1f}" for each in found]
    waits = [f"{each.wait * 1e3:.2f}" for each in found]
    gradients = sent_bytes({("all_reduce", first.weights): 1}, first.world) / MIB
    norms = sent_bytes(first.norms, first.world) / MIB
    calls = [f"{sum(t.values()):,.3g}" for t in (first.norms, first.losses)]
    return [name, f"{gradients:,.1f}", calls[0], f"{norms:,.1f}", calls[1], *mib, *waits]


def sent_on(config: Config) -> list[Sent]:
    """Traffic of a step of a config on each of ``WORLDS``."""
    sys.path.append(str(TESTS))
    from methods import traffic

    model = model_in_training(config, dataset=DATASET, device="cpu")
    optimizer = build_optim_wrapper(model, config.optim_wrapper)
    weights = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    passes = norm_passes(model, lambda: update(model, optimizer, WARMUP_BATCH, SIZE, 1))
    losses = {world: traffic(model, config.model, BATCH, world, SIZE) for world in WORLDS}
    return [Sent(world, weights, norm_traffic(passes, world), losses[world]) for world in WORLDS]
