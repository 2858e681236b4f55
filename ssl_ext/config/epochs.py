"""Another number of epochs for a config whose schedules end with the training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.config import Config

from ssl_ext.errors import UserError
from ssl_ext.values import is_count


def set_epochs(config: Config, epochs: int) -> None:
    """Set ``train_cfg.max_epochs`` in place, and let the learning-rate schedules end there.

    A warm-up keeps its length. A cosine or linear schedule that ended with the run ends at the new end.
    Milestones keep their share of the run, in whole epochs, at least one epoch apart and before the end.

    Raises:
        UserError: The run is counted in steps, it would not be longer than the warm-up or has fewer epochs
            than milestones, or a schedule does not end with the run.
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
        if fault := _end_at(scheduler, before, epochs):
            raise UserError(
                f"{name}: param_scheduler.{number} ({scheduler['type']}) {fault}; give train_cfg.max_epochs "
                "and the schedule instead (--cfg-options)."
            )
    config.train_cfg.max_epochs = epochs


def warm_up_epochs(config: Config) -> int:
    """Epochs before the last schedule begins.

    >>> warm_up_epochs(Config(dict(param_scheduler=[dict(end=5), dict(begin=5)])))
    5
    """
    return max((scheduler.get("begin", 0) for scheduler in _schedulers(config)), default=0)


def _schedulers(config: Config) -> Iterator[Any]:
    schedulers = config.get("param_scheduler") or []
    yield from [schedulers] if isinstance(schedulers, Mapping) else schedulers


def _end_at(scheduler: Any, before: int, epochs: int) -> str | None:
    """Move an end at epoch ``before`` to ``epochs``; return a reason if the schedule has no such end."""
    kind, begin, end = scheduler["type"], scheduler.get("begin", 0), scheduler.get("end", before)
    by_epoch = scheduler.get("by_epoch", True)
    if kind == "LinearLR" and "end" in scheduler and (not by_epoch or end < before):
        return f"warms up for {end} epochs" if by_epoch and end >= epochs else None
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
        if epochs <= len(scheduler.milestones):
            return f"has {len(scheduler.milestones)} milestones"
        scheduler.milestones = _scaled(scheduler.milestones, before, epochs)
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
