"""Weak and strong scaling of a training step over two processes, and what explains it."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mmengine.config import Config
from torch import nn

from ssl_ext.apis import build_model
from ssl_ext.errors import UserError

from .pairs import MIN_PAIRS
from .processes import ProcessGroup, backend
from .projection import Cluster, Link, fit_link
from .scaling_step import DATASET, StepMaker
from .step import WARMUP, step_config
from .traffic import Collective, NormPass, gradient_collectives, moved_share, norm_collectives
from .traffic_formulas import loss_collectives

WORLD = 2
ALONE, HALF = "one process", "one process, half a batch"
APART, WEAK, STRONG = "two, apart", "two, joined", "two, joined, half a batch each"
# Of an all-reduce of float32 numbers, in bytes, and how often each is repeated.
LINK_SIZES = {4: 50, 2**12: 50, 2**16: 20, 2**18: 20, 2**20: 10, 2**22: 5, 2**24: 3, 2**26: 2}


@dataclass(frozen=True)
class Scaling:
    """Seconds of a step by arrangement, one per round (of the slower process), and what a step sends.

    ``counted`` was seen in a step of two processes; ``gradients`` and ``losses`` are closed forms
    (``losses_half`` for half a batch), ``norms`` the passes in which batch norms could be synchronised.
    ``link`` fits ``link_samples``, moved bytes and seconds of all-reduces. Peaks are bytes of the larger
    process.
    """

    seconds: Mapping[str, tuple[float, ...]]
    batch_size: int
    threads: int
    backend: str
    counted: Sequence[Collective]
    gradients: Sequence[Collective]
    losses: Sequence[Collective]
    losses_half: Sequence[Collective]
    norms: Sequence[NormPass]
    link: Link
    link_samples: Sequence[tuple[float, float]]
    peak_resident: int
    peak_device: int | None

    def median(self, name: str) -> float:
        """Median seconds of a step."""
        return statistics.median(self.seconds[name])

    def ratio(self, name: str, other: str, factor: float = 1.0) -> tuple[float, float, float]:
        """Median, smallest and largest of factor · time of ``name`` / time of ``other``, round by round."""
        pairs = zip(self.seconds[name], self.seconds[other], strict=True)
        ratios = [factor * a / b for a, b in pairs]
        return statistics.median(ratios), min(ratios), max(ratios)

    def efficiencies(self) -> dict[str, tuple[float, float, float]]:
        """Weak scaling t(1, B) / t(2, B), strong t(1, B) / (2 · t(2, B/2)), and that of two apart."""
        return {
            "weak": self.ratio(ALONE, WEAK),
            "strong": self.ratio(ALONE, STRONG, 1 / WORLD),
            "two apart (shared memory and cores)": self.ratio(ALONE, APART),
            "joined over apart (communication)": self.ratio(APART, WEAK),
        }

    def predictions(self, *, hidden: bool) -> dict[str, tuple[float, ...]]:
        """Predicted seconds of a joined step, round by round: computing, then all that is sent.

        The computing is that of two processes apart; of half a batch, one process's time as much longer as
        two processes apart take for a whole batch. ``hidden`` lets gradients travel behind the backward pass,
        except for the last bucket.
        """
        rounds = zip(*(self.seconds[name] for name in (ALONE, HALF, APART)), strict=True)
        computing = [(apart, half * apart / alone) for alone, half, apart in rounds]
        gradients, last = (self.link.seconds(g, WORLD) for g in (self.gradients, self.gradients[-1:]))
        norms = norm_collectives(self.norms, WORLD) if self.backend == "nccl" else []
        found = {}
        for index, (name, losses) in enumerate(((WEAK, self.losses), (STRONG, self.losses_half))):
            fixed = self.link.seconds([*losses, *norms], WORLD)
            times = [seconds[index] for seconds in computing]
            found[name] = tuple(
                seconds + fixed + (max(gradients - Cluster.backward * seconds, last) if hidden else gradients)
                for seconds in times
            )
        return found


def benchmark_scaling(
    config: Config | str | os.PathLike,
    *,
    pairs: int = 5,
    threads: int | None = None,
    batch_size: int = 64,
    size: int = 32,
    steps: int = 4,
    stem: str | None = None,
    timeout: float = 600.0,
    dataset: int = DATASET,
) -> Scaling:
    """Time a training step in one process and in two, in turn; count what it sends.

    Each round measures, ``steps`` steps each: one process (the other one waits); both at once, apart; both
    joined by DDP; both joined with half a batch each; one process with half a batch. All-reduces of several
    sizes follow.

    Args:
        config: A pretraining config, or the path of a config file; its data set is not read.
        pairs: Rounds, at least 5, after one more.
        threads: Torch's threads in each process; by default 1.
        batch_size: B, images per process, even and at least 4.
        size: Their side in pixels.
        steps: Steps per measurement.
        stem: ``'imagenet'`` or ``'cifar'``, the ResNet of the backbone; by default the config's.
        timeout: Seconds after which a process that does not answer ends the benchmark.
        dataset: Images that memory banks keep an entry of.

    Raises:
        UserError: Bad config, unknown stem, mixed precision, an algorithm without a formula.
        ValueError: A number out of range.
        RuntimeError: A process failed.
    """
    threads = threads or 1
    config = step_config(config, stem, batch_size=batch_size, size=size, steps=steps, threads=threads)
    if pairs < MIN_PAIRS:
        raise ValueError(f"pairs must be at least {MIN_PAIRS}, got {pairs}")
    if batch_size < 4 or batch_size % 2:
        raise ValueError(
            f"batch_size must be even and at least 4, got {batch_size}: strong scaling halves it"
        )
    if not timeout > 0:
        raise ValueError(f"timeout must be above 0 s, got {timeout}")
    model = measured_model(config, dataset)
    losses, losses_half = (
        loss_collectives(model, config.model, count, WORLD) for count in (batch_size, batch_size // 2)
    )
    half, both = batch_size // 2, range(WORLD)
    arrangements = {
        ALONE: ([0], batch_size, False),
        APART: (both, batch_size, False),
        WEAK: (both, batch_size, True),
        STRONG: (both, half, True),
        HALF: ([0], half, False),
    }
    seconds: dict[str, list[float]] = {name: [] for name in arrangements}
    reductions: dict[int, list[float]] = {bytes_: [] for bytes_ in LINK_SIZES}
    maker = StepMaker(config.to_dict(), batch_size, size, threads, dataset)
    with ProcessGroup(maker, WORLD, timeout=timeout) as group:
        counted = group.ask(both, "count", batch_size, period(losses))[0]
        (norms,) = group.ask([0], "norms", batch_size)
        for turn in range(WARMUP + pairs):
            for name, (ranks, images, joined) in arrangements.items():
                taken = max(group.ask(ranks, "seconds", images, steps, joined))
                if turn >= WARMUP:
                    seconds[name].append(taken)
            for bytes_, repeats in LINK_SIZES.items():
                reductions[bytes_].append(max(group.ask(both, "all_reduce_seconds", bytes_, repeats)))
        resident, device = zip(*group.ask(both, "peaks"), strict=True)
    share = moved_share("all_reduce", WORLD)
    samples = [(share * bytes_, statistics.median(times)) for bytes_, times in reductions.items()]
    return Scaling(
        seconds={name: tuple(values) for name, values in seconds.items()},
        batch_size=batch_size,
        threads=threads,
        backend=backend(WORLD),
        counted=counted,
        gradients=gradient_collectives(model),
        losses=losses,
        losses_half=losses_half,
        norms=norms,
        link=fit_link(samples),
        link_samples=samples,
        peak_resident=max(resident),
        peak_device=None if device[0] is None else max(device),
    )


def period(found: Sequence[Collective]) -> int:
    """After how many steps everything was sent as often as a step sends it on average.

    >>> period([Collective("all_reduce", 4, 2), Collective("broadcast", 4, 0.1)])
    10
    """
    return max((round(1 / c.calls) for c in found if c.calls < 1), default=1)


def measured_model(config: Config, dataset: int = DATASET) -> nn.Module:
    """The model of a config, ready to be trained on ``dataset`` images.

    Raises:
        UserError: Bad config, or a model that does not train on views.
    """
    model = build_model(config)
    if not hasattr(model, "loss") or not hasattr(model.data_preprocessor, "num_views"):
        raise UserError(f"model.type is {config.model.type!r}; scaling is measured of models of views.")
    model.set_dataset_size(dataset)
    return model
