"""Per-step numbers from the host, as device tensors with fixed addresses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

ADAM = (Adam, AdamW)


class Numbers(Mapping[str, Tensor]):
    """Named float64 scalars in one device vector, written by one copy per step.

    >>> numbers = Numbers(["lr", "ema"], torch.device("cpu"))
    >>> numbers.write(dict(lr=0.5, ema=0.25))
    >>> float(numbers["ema"])
    0.25
    """

    def __init__(self, names: list[str], device: torch.device) -> None:
        self.vector = torch.zeros(len(names), device=device, dtype=torch.float64)
        self.slots = dict(zip(names, self.vector.unbind(), strict=True))

    def write(self, numbers: Mapping[str, float]) -> None:
        """Set every number."""
        # A new pinned block each time: torch's host allocator keeps it until the asynchronous copy is done.
        host = torch.tensor(
            [numbers[name] for name in self.slots], dtype=torch.float64, pin_memory=self.vector.is_cuda
        )
        self.vector.copy_(host, non_blocking=True)

    def __getitem__(self, name: str) -> Tensor:
        return self.slots[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.slots)

    def __len__(self) -> int:
        return len(self.slots)


def pinned(value: Tensor, device: torch.device) -> Tensor:
    """``value`` in pinned memory if ``device`` is a GPU, so that the copy does not block the host."""
    return value.pin_memory() if device.type == "cuda" and value.is_cpu and not value.is_pinned() else value


class Rates:
    """Learning rates of an optimiser: floats for schedulers, device tensors inside a step.

    Parameter groups with equal initial rates share a slot, the name of their number, until their rates
    differ.

    Raises:
        ValueError: The optimiser's rates cannot be tensors.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        reads_tensors = isinstance(optimizer, (*ADAM, SGD)) or getattr(optimizer, "tensor_rates", False)
        if not reads_tensors:
            raise ValueError(f"the optimiser {type(optimizer).__name__}, whose learning rates are numbers")
        self.optimizer = optimizer
        kinds: dict[tuple, str] = {}
        self.names = [
            kinds.setdefault((group["lr"], group.get("initial_lr")), f"lr{len(kinds)}")
            for group in optimizer.param_groups
        ]
        move_step_counters(optimizer)

    def numbers(self) -> dict[str, float]:
        """Rates of the next step, by slot; once groups of a slot differ, every group has its own slot."""
        rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        if len(set(zip(self.names, rates, strict=True))) > len(set(self.names)):
            self.names = [f"lr{number}" for number in range(len(rates))]
        return dict(zip(self.names, rates, strict=True))

    @contextmanager
    def in_step(self, numbers: Numbers) -> Iterator[None]:
        """Set rates and capture options of the parameter groups to those for capture; restore on exit."""
        groups = self.optimizer.param_groups
        on_gpu = numbers.vector.is_cuda
        # Fused kernels read float32 on a GPU.
        rates = numbers.vector.float() if on_gpu else numbers.vector
        slots = dict(zip(numbers, rates.unbind(), strict=True))
        before = [dict(group) for group in groups]
        try:
            for name, group in zip(self.names, groups, strict=True):
                group["lr"] = slots[name]
                if isinstance(self.optimizer, (*ADAM, SGD)):
                    group.update(fused=True, foreach=False)
                if isinstance(self.optimizer, ADAM):
                    group["capturable"] = on_gpu
            yield
        finally:
            for group, settings in zip(groups, before, strict=True):
                group.update(settings)


def fuse_adam(optimizer: Adam) -> None:
    """Switch an Adam optimiser to its capturable fused kernel; repeat after ``load_state_dict``."""
    for group in optimizer.param_groups:
        group.update(fused=True, foreach=False, capturable=group["params"][0].is_cuda)
    move_step_counters(optimizer)


def move_step_counters(optimizer: Optimizer) -> None:
    """Move step counters to the parameters' device; the state of an unfused run has them on the host."""
    optimizer._warned_capturable_if_run_uncaptured = True  # type: ignore[attr-defined]
    for parameter, state in optimizer.state.items():
        step: Any = state.get("step")
        if torch.is_tensor(step):
            state["step"] = step.to(parameter.device, torch.float32)
