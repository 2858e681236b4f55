"""Epochs of several contenders, and the phases of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from unittest import mock

import torch
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader

from . import compare
from .workload import Contender, Start, Workload, trained_parameters, with_contenders

DATA, FORWARD, BACKWARD, OPTIMISER, REST = "data", "forward + loss", "backward", "optimiser", "rest"
PHASES = (DATA, FORWARD, BACKWARD, OPTIMISER, REST)
Phases = Mapping[str, float]


def profile_epoch(contender: Contender, steps: int) -> dict[str, float]:
    """Train for one epoch and return seconds per step of each of ``PHASES``.

    ``data`` is waiting for and preprocessing batches, ``rest`` everything outside the other four phases:
    hooks, log lines, ``zero_grad``, and EMA updates unless the forward pass does them. The GPU is
    synchronised between phases.
    """
    seconds = dict.fromkeys(PHASES, 0.0)
    started: dict[str, float] = {}

    def start(phase: str) -> None:
        started[phase] = compare.now()

    def stop(phase: str) -> None:
        seconds[phase] += (compare.now() - started[phase]) / steps

    @contextmanager
    def phase(name: str) -> Iterator[None]:
        start(name)
        yield
        stop(name)

    def backward(self: Tensor, *args, real: Callable = Tensor.backward, **kwargs) -> None:
        with phase(BACKWARD):
            real(self, *args, **kwargs)

    def batches(loader: DataLoader, real: Callable = DataLoader.__iter__) -> Iterator:
        with phase(DATA):
            iterator = real(loader)
        while True:
            with phase(DATA):
                batch = next(iterator, None)
            if batch is None:
                return
            yield batch

    with ExitStack() as stack:
        for module, name in ((contender.preprocessor, DATA), (contender.model, FORWARD)):
            if module is not None:
                stack.enter_context(module.register_forward_pre_hook(lambda *_, name=name: start(name)))
                stack.enter_context(module.register_forward_hook(lambda *_, name=name: stop(name)))
        optimizer = contender.optimizer
        stack.enter_context(optimizer.register_step_pre_hook(lambda *_: start(OPTIMISER)))
        stack.enter_context(optimizer.register_step_post_hook(lambda *_: stop(OPTIMISER)))
        stack.enter_context(mock.patch.object(Tensor, "backward", backward))
        stack.enter_context(mock.patch.object(DataLoader, "__iter__", batches))
        with phase(REST):
            contender.epoch()
    seconds[REST] -= sum(value for name, value in seconds.items() if name != REST)
    return seconds


def compare_epochs(
    work: Workload, starts: Sequence[Start], pairs: int, profile: bool = True
) -> tuple[compare.Comparison, dict[str, Phases], dict[str, int], int]:
    """Time epochs of the contenders, relative to the first; then profile one more epoch of each.

    Returns:
        Times, phases by name, peak bytes of GPU memory by name (empty without a GPU), trained parameters.
    """
    results = []

    def use(contenders: Sequence[Contender]) -> None:
        calls = {each.name: each.epoch for each in contenders}
        items = work.batch_size * work.steps
        times = compare.compare(calls, reference=contenders[0].name, pairs=pairs, items=items, unit="images")
        phases, peaks = {}, {}
        for each in contenders if profile else ():
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
            phases[each.name] = profile_epoch(each, work.steps)
            if torch.cuda.is_available():
                peaks[each.name] = torch.cuda.max_memory_allocated()
        results.append((times, phases, peaks, trained_parameters(contenders[0].model)))

    with_contenders(replace(work, epochs=compare.WARMUP + pairs + profile), starts, use)
    return results[0]


def share_outside(seconds: Phases) -> float:
    """Fraction of a step outside forward pass with loss, backward pass and optimiser."""
    return (seconds[DATA] + seconds[REST]) / sum(seconds.values())


def phases_table(phases: Mapping[str, Phases], title: str, peaks: Mapping[str, int] | None = None) -> Table:
    """Table of milliseconds per step of each phase, and peak GPU memory if given."""
    headings = (*PHASES, "sum", "outside %", *(["device MiB"] if peaks else []))
    made = compare.table(title, "", *headings, caption="one more epoch, after the rounds")
    for name, seconds in phases.items():
        times = [*(seconds[phase] for phase in PHASES), sum(seconds.values())]
        memory = [f"{peaks[name] / compare.MIB:,.0f}"] if peaks else []
        cells = (f"{value * 1e3:,.1f}" for value in times)
        made.add_row(name, *cells, f"{100 * share_outside(seconds):.1f}", *memory)
    return made
