"""Checks of arguments of classes that MMEngine builds late: loop, optimiser wrapper, schedulers."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry

from ssl_ext.engine.loop import EpochLoop, IterLoop
from ssl_ext.errors import UserError
from ssl_ext.registry import OPTIM_WRAPPERS, OPTIMIZERS, PARAM_SCHEDULERS

from .keys import near_key

# Set by the runner, not by a config.
GIVEN = frozenset(("self", "runner", "dataloader", "params", "param_name", "epoch_length"))


def check_arguments(config: Config) -> None:
    """Check the keys of ``train_cfg``, ``optim_wrapper``, its optimiser and ``param_scheduler``.

    Raises:
        UserError: A class is not registered, an argument is unknown, the loop has no length, or a scheduler
            needs a validation loop, which training does not have.
    """
    loop = config.train_cfg
    if "type" not in loop:
        by_epoch = loop.get("by_epoch")
        _check("train_cfg", loop, EpochLoop if by_epoch else IterLoop, ("by_epoch",))
        length = "max_epochs" if by_epoch else "max_iters"
        if lacking := [key for key in ("by_epoch", length) if key not in loop]:
            raise UserError(f"The config lacks train_cfg.{lacking[0]}.")
    wrapper = config.optim_wrapper
    kind = _class("optim_wrapper", OPTIM_WRAPPERS, wrapper.get("type", "OptimWrapper"))
    _check("optim_wrapper", wrapper, kind, ("type", "optimizer", "constructor", "paramwise_cfg"))
    if optimizer := wrapper.get("optimizer"):
        kind = _class("optim_wrapper.optimizer", OPTIMIZERS, optimizer["type"])
        _check("optim_wrapper.optimizer", optimizer, kind, ("type",))
    schedulers = config.get("param_scheduler") or []
    for number, scheduler in enumerate([schedulers] if isinstance(schedulers, Mapping) else schedulers):
        kind = _class(key := f"param_scheduler.{number}", PARAM_SCHEDULERS, scheduler["type"])
        if getattr(kind, "need_val_args", False):
            raise UserError(
                f"{key}: {kind.__name__} needs metrics of a validation loop, which training does not "
                "have: choose a schedule over steps or epochs."
            )
        _check(key, scheduler, kind, ("type", "convert_to_iter_based"))


def _class(key: str, registry: Registry, name: Any) -> type:
    found = registry.get(name) if isinstance(name, str) else name
    if found is None:
        raise UserError(f"{key}: type={name!r} is not a registered {registry.name}.")
    return found


def _check(key: str, settings: Mapping[str, Any], kind: type, more: Collection[str]) -> None:
    """Raise UserError for a key that is neither an argument of the class nor one of ``more``."""
    arguments = _arguments(kind)
    if arguments is None:
        return
    known = (arguments | set(more)) - GIVEN
    for name in settings:
        if name not in known:
            near = near_key(name, known)
            offered = f"did you mean {key}.{near}?" if near else f"known are {', '.join(sorted(known))}."
            raise UserError(f"The config has the unknown key {key}.{name} of {kind.__name__}; {offered}")


def _arguments(kind: type) -> set[str] | None:
    """Argument names of a class and of the bases that get its ``**kwargs``; None if any are accepted."""
    names: set[str] = set()
    for base in inspect.getmro(kind)[:-1]:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
        names |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            return names
    return None
