"""Measurements of ``benchmark.py gpu``: time, kernels and host syncs of a step, and its network passes."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable, Iterable
from contextlib import ExitStack, nullcontext
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from ssl_ext.capture import Graph, Replayed, Tape
from ssl_ext.engine.loop import EpochLoop

from .compare import MIB, timed
from .workload import Contender

EPOCHS = 2  # timed, after one epoch of warm-up
WATCHED = 8  # steps under the profiler, none with a log line
ALONE = 10  # replays of the network passes


def measure_step(contender: Contender, steps: int, *, alone: bool = True) -> dict[str, Any]:
    """Figures of a step of a run of this project; with ``alone``, also of its network passes."""
    loop: EpochLoop = contender.epoch.__self__  # type: ignore[attr-defined]
    passes = Passes(contender.model)
    with passes if alone else nullcontext():
        take_steps(loop, 1)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    first = timed(contender.epoch)
    seconds = statistics.median(timed(contender.epoch) for _ in range(EPOCHS)) / steps
    on_gpu = torch.cuda.is_available()
    figures = dict(
        ms=1e3 * seconds,
        images_per_second=loop.dataloader.batch_size / seconds,
        first_epoch_s=first,
        # The memory of a graph is not counted as allocated during replays.
        peak_reserved_mib=torch.cuda.max_memory_reserved() / MIB if on_gpu else None,
        replayed=loop.runner.train_step.records,
        **(watch(loop) if on_gpu else {}),
    )
    if alone:
        limit, work = passes.seconds(loop.runner.optim_wrapper)
        figures |= dict(
            passes_ms=1e3 * limit, outside_ms=1e3 * (seconds - limit), over_passes=seconds / limit
        )
        figures |= {f"passes_{name}": value for name, value in work.items()}
    return figures


def take_steps(loop: EpochLoop, count: int) -> None:
    """Run the first steps of an epoch, which restarts afterwards."""
    taken = loop._iter
    loop.runner.call_hook("before_train_epoch")
    loop.runner.model.train()
    for index, batch in enumerate(islice(loop.dataloader, count)):
        loop.run_iter(index, batch)
    loop._iter = taken


def watch(loop: EpochLoop) -> dict[str, float]:
    """Fraction of time in which the GPU is busy, and kernels and host syncs per step."""
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        take_steps(loop, WATCHED)
        torch.cuda.set_sync_debug_mode("default")
    # Setting the mode warns too, once, that it is a prototype.
    waits = sum("called a synchronizing" in str(warning.message) for warning in caught)
    kernels = kernels_of(lambda: take_steps(loop, WATCHED))
    return dict(busy=busy_share(kernels), **work_of(kernels, WATCHED), waits=waits / WATCHED)


def kernels_of(call: Callable[[], object]) -> list[tuple[int, int]]:
    """Start and end, in nanoseconds, of all that the GPU does in a call."""
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        call()
        torch.cuda.synchronize()
    return [
        (event.start_ns(), event.start_ns() + event.duration_ns())
        for event in profiler.profiler.kineto_results.events()
        if event.device_type() == torch.autograd.DeviceType.CUDA and not is_annotation(event)
    ]


def work_of(kernels: list[tuple[int, int]], steps: int) -> dict[str, float]:
    """Number of kernels and their milliseconds in each of ``steps`` steps."""
    milliseconds = sum(end - start for start, end in kernels) / 1e6
    return dict(kernels=len(kernels) / steps, gpu_ms=milliseconds / steps)


def is_annotation(event: Any) -> bool:
    """True if a device event is a named range, not a kernel; not every torch reports its type."""
    if hasattr(event, "activity_type"):
        return "annotation" in event.activity_type()
    return event.name().startswith(("Optimizer.", "##", "Torch-Compiled"))


def busy_share(spans: Iterable[tuple[int, int]]) -> float:
    """Fraction of the time from the first start to the last end that the spans cover.

    >>> busy_share([(0, 2), (1, 3), (5, 6)])
    0.6666666666666666
    """
    ordered = sorted(spans)
    if not ordered:
        return 0.0
    covered, reached = 0, ordered[0][0]
    for start, end in ordered:
        covered += max(0, end - max(start, reached))
        reached = max(reached, end)
    return covered / (reached - ordered[0][0])


class Passes:
    """Forward and backward passes of all backbones of a model in one step, without the rest."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.calls, self.stack = model, [], ExitStack()

    def __enter__(self) -> Passes:
        for name, module in self.model.named_modules():
            if name.rpartition(".")[2] == "backbone":
                self.stack.enter_context(module.register_forward_hook(self._note))
        return self

    def __exit__(self, *error: Any) -> None:
        self.stack.close()

    def _note(self, module: nn.Module, inputs: tuple, outputs: Any) -> None:
        images = inputs[0].detach().clone().requires_grad_(inputs[0].requires_grad)
        weights = any(parameter.requires_grad for parameter in module.parameters())
        self.calls.append((module, images, torch.is_grad_enabled() and (weights or images.requires_grad)))

    def run(self, wrapper: Any) -> Tensor:
        """Run the passes, backward only for trained networks."""
        with wrapper.optim_context(self.model):
            outputs = []
            for module, images, learns in self.calls:
                with torch.set_grad_enabled(learns):
                    outputs.append((module(images), learns))
        losses = [part.float().mean() for found, learns in outputs if learns for part in found[-1:]]
        total = torch.stack(losses).sum()
        total.backward()
        for tensor in (*self.model.parameters(), *(images for _, images, _ in self.calls)):
            tensor.grad = None
        return total.detach()

    def seconds(self, wrapper: Any) -> tuple[float, dict[str, float]]:
        """Seconds of the replayed passes of a step, and their kernels and milliseconds on a GPU."""

        def refuse(reason: str) -> None:
            raise RuntimeError(f"the network passes cannot be recorded: {reason}")

        replayed = Replayed(lambda: self.run(wrapper), Graph if torch.cuda.is_available() else Tape, refuse)
        stream = torch.cuda.current_stream() if torch.cuda.is_available() else None
        if stream is not None and stream == torch.cuda.default_stream():
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.default_stream())
        with torch.cuda.stream(stream):
            for _ in range(5):
                replayed()
            seconds = timed(lambda: [replayed() for _ in range(ALONE)]) / ALONE
            return seconds, work_of(kernels_of(replayed), 1) if stream is not None else {}
