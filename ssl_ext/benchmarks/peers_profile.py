"""Where an epoch spends its time."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ssl_ext.benchmarks.peers_work import Way

DATA, FORWARD, BACKWARD, OPTIMISER, REST = "data", "forward + loss", "backward", "optimiser", "rest"
PHASES = (DATA, FORWARD, BACKWARD, OPTIMISER, REST)


def profile_epoch(way: Way, steps: int) -> dict[str, float]:
    """Train for one epoch and return seconds per step of each of ``PHASES``.

    ``data`` is waiting for batches and preprocessing them (views, where the preprocessor draws them),
    ``rest`` everything between the others: hooks, log lines, momentum copies unless the forward pass moves
    them, ``zero_grad``. A GPU is waited for at each border.
    """
    clock = _Clock()
    with ExitStack() as stack:
        for module, phase in ((way.preprocessor, DATA), (way.model, FORWARD)):
            if module is not None:
                stack.enter_context(_timed_module(clock, module, phase))
        stack.enter_context(_timed_optimizer(clock, way.optimizer))
        stack.enter_context(mock.patch.object(Tensor, "backward", _timed(clock, Tensor.backward)))
        stack.enter_context(mock.patch.object(DataLoader, "__iter__", _timed_batches(clock)))
        clock.start(REST)
        way.epoch()
        clock.stop(REST)
    seconds = {phase: clock.seconds.get(phase, 0.0) / steps for phase in PHASES}
    seconds[REST] -= sum(value for phase, value in seconds.items() if phase != REST)
    return seconds


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.started: dict[str, float] = {}

    def start(self, phase: str) -> None:
        self.started[phase] = self._now()

    def stop(self, phase: str) -> None:
        self.seconds[phase] = self.seconds.get(phase, 0.0) + self._now() - self.started[phase]

    def _now(self) -> float:
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        return time.perf_counter()


@contextmanager
def _timed_module(clock: _Clock, module: nn.Module, phase: str) -> Iterator[None]:
    before = module.register_forward_pre_hook(lambda *_: clock.start(phase))
    after = module.register_forward_hook(lambda *_: clock.stop(phase))
    with before, after:
        yield


@contextmanager
def _timed_optimizer(clock: _Clock, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    before = optimizer.register_step_pre_hook(lambda *_: clock.start(OPTIMISER))
    after = optimizer.register_step_post_hook(lambda *_: clock.stop(OPTIMISER))
    with before, after:
        yield


def _timed(clock: _Clock, backward: Callable[..., None]) -> Callable[..., None]:
    def timed(self: Tensor, *args, **kwargs) -> None:
        clock.start(BACKWARD)
        backward(self, *args, **kwargs)
        clock.stop(BACKWARD)

    return timed


def _timed_batches(clock: _Clock) -> Callable[[DataLoader], Iterator]:
    iterate = DataLoader.__iter__

    def batches(loader: DataLoader) -> Iterator:
        clock.start(DATA)
        iterator = iterate(loader)
        clock.stop(DATA)
        while True:
            clock.start(DATA)
            batch = next(iterator, None)
            clock.stop(DATA)
            if batch is None:
                return
            yield batch

    return batches
