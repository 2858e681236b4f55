"""Another number of epochs for a config whose schedules end with the training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.config import Config

from ssl_ext.errors import UserError
from ssl_ext.values import is_count


def set_epochs(config: Config, epochs: int, steps: float = math.inf) -> None:
    """Set ``train_cfg.max_epochs`` in place, and let the learning-rate schedules end there.

    A warm-up keeps its length. A cosine or linear schedule that ended with the run ends at the new end.
    Milestones keep their share of the run, in whole epochs, at least one epoch apart and before the end.
    ``steps`` is the length of an epoch, if it is known; a warm-up counted in steps is checked then.

    Raises:
        UserError: The run is counted in steps, it would not be longer than the warm-up or has fewer epochs
            than milestones, milestones do not increase or are never reached, or a schedule does not end with
            the run.
    """
    name = f"--epochs {epochs}"
    if not is_count(epochs):
        raise UserError(f"{name}: at least 1 is needed.")
    before = config.train_cfg.get("max_epochs")
    if before is None:
        raise UserError(
            f"{name}: the config counts steps; give these instead, with a param_scheduler that ends there, "
            f"such as --cfg-options train_cfg.max_iters={config.train_cfg.get('max_iters')}."
        )
    for number, scheduler in enumerate(_schedulers(config)):
        if fault := _end_at(scheduler, before, epochs, steps):
            raise UserError(
                f"{name}: param_scheduler.{number} ({scheduler['type']}) {fault}; give train_cfg.max_epochs "
                "and the schedule instead (--cfg-options)."
            )
    config.train_cfg.max_epochs = epochs


def warm_up_epochs(config: Config, steps: int) -> int:
    """Epochs of ``steps`` steps before the last schedule begins and warm-ups counted in steps end.

    >>> warm_up_epochs(Config(dict(param_scheduler=[dict(end=5), dict(begin=5)])), 8)
    5
    >>> warm_up_epochs(Config(dict(param_scheduler=[dict(by_epoch=False, end=500)])), 8)
    63
    """
    ends = [
        scheduler.get("begin", 0) if scheduler.get("by_epoch", True) else -(-scheduler.get("end", 0) // steps)
        for scheduler in _schedulers(config)
    ]
    return max(ends, default=0)


def _schedulers(config: Config) -> Iterator[Any]:
    schedulers = config.get("param_scheduler") or []
    yield from [schedulers] if isinstance(schedulers, Mapping) else schedulers


def _end_at(scheduler: Any, before: int, epochs: int, steps: float) -> str | None:
    """Move an end at epoch ``before`` to ``epochs``; return a reason if the schedule has no such end."""
    kind, begin, end = scheduler["type"], scheduler.get("begin", 0), scheduler.get("end", before)
    by_epoch = scheduler.get("by_epoch", True)
    if kind == "LinearLR" and "end" in scheduler and (not by_epoch or end < before):
        length, unit = (epochs, "epochs") if by_epoch else (epochs * steps, "steps")
        return f"warms up for {end} {unit}, the run has {length}" if end >= length else None
    if not by_epoch:
        return "is counted in steps"
    if begin >= epochs:
        return f"begins after {begin} epochs"
    if end != before:
        return f"ends after {end} epochs, the run after {before}"
    if kind == "CosineAnnealingLR":
        length = scheduler.get("T_max", before)
        if length not in (before, before - begin):
            return f"has T_max={length} in {before} epochs"
        if "T_max" in scheduler:
            scheduler.T_max = length + epochs - before
    elif kind == "MultiStepLR":
        given, length = list(scheduler.milestones), before - begin
        if given != sorted({epoch for epoch in given if 0 < epoch < length}):
            return f"has milestones={given}, which must increase and lie between 0 and {length}"
        if epochs - begin <= len(given):
            return f"has {len(given)} milestones"
        scheduler.milestones = _scaled(given, length, epochs - begin)
    elif kind != "LinearLR":
        return "has a length of its own"
    if "end" in scheduler:
        scheduler.end = epochs
    return None


def _scaled(milestones: Sequence[int], before: int, epochs: int) -> list[int]:
    """Milestones of ``before`` epochs for ``epochs``.

    >>> _scaled([950, 975], 1000, 200), _scaled([950, 975], 1000, 10)
    ([190, 195], [8, 9])
    """
    found, later = [], epochs
    for number in range(len(milestones), 0, -1):
        later = min(max(round(milestones[number - 1] * epochs / before), number), later - 1)
        found.append(later)
    return found[::-1]
