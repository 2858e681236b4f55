"""Checks of arguments of data sets and of classes that MMEngine builds late: loop, optimiser, schedulers."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry

from ssl_ext.engine.loop import EpochLoop, IterLoop
from ssl_ext.errors import UserError, did_you_mean
from ssl_ext.registry import DATASETS, MODELS, OPTIM_WRAPPERS, OPTIMIZERS, PARAM_SCHEDULERS

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


def check_model(settings: Mapping[str, Any]) -> None:
    """Check the keys of a model and of its parts.

    Raises:
        UserError: A class has no argument of that name, for example because a base config sets it for another
            class.
    """
    parts = {f"model.{name}": part for name, part in settings.items() if isinstance(part, Mapping)}
    for key, part in {"model": settings, **parts}.items():
        name = part.get("type")
        kind = MODELS.get(name) if isinstance(name, str) else name
        if not inspect.isclass(kind):
            continue
        if key != "model" and _passes_on(kind):
            continue  # perhaps to its parts
        arguments, others = _parameters(kind)
        known = {*arguments, "type", "init_cfg", "_scope_"} - GIVEN
        if not others and (wrong := [name for name in part if name not in known]):
            near = near_key(wrong[0], known)
            advice = (
                f"did you mean {key}.{near}?"
                if near
                else f"if a base config sets it for another class, give {key} whole, with _delete_=True."
            )
            raise UserError(f"{kind.__name__} has no argument {wrong[0]} ({key}.{wrong[0]}): {advice}")


def check_dataset(key: str, settings: Mapping[str, Any]) -> None:
    """Check the keys of a data set.

    Raises:
        UserError: The class is not registered, an argument is unknown, or one without default is missing.
    """
    kind = _class(key, DATASETS, settings["type"])
    _check(key, settings, kind, ("type", "_scope_"))
    given = set(settings)
    for name, required in _parameters(kind)[0].items():
        if required and name not in given | GIVEN:
            raise UserError(f"{key}: {kind.__name__} needs {name}: set {key}.{name}.")


def _class(key: str, registry: Registry, name: Any) -> type:
    found = registry.get(name) if isinstance(name, str) else name
    if found is None:
        near = did_you_mean(str(name), _names(registry)) or "."
        raise UserError(f"{key}: type={name!r} is not a registered {registry.name}{near}")
    return found


def _names(registry: Registry | None) -> Iterator[str]:
    while registry is not None:
        yield from registry.module_dict
        registry = registry.parent


def _check(key: str, settings: Mapping[str, Any], kind: type, more: Collection[str]) -> None:
    """Raise UserError for a key that is neither an argument of the class nor one of ``more``."""
    arguments, others = _parameters(kind)
    if others:
        return
    known = (set(arguments) | set(more)) - GIVEN
    for name in settings:
        if name not in known:
            near = near_key(name, known)
            offered = f"did you mean {key}.{near}?" if near else f"known are {', '.join(sorted(known))}."
            raise UserError(f"The config has the unknown key {key}.{name} of {kind.__name__}; {offered}")


def _passes_on(kind: type) -> bool:
    """True if the constructor has ``**kwargs``."""
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(kind).parameters.values())


def _parameters(kind: type) -> tuple[dict[str, bool], bool]:
    """Arguments of a class and of the bases that get its ``**kwargs``.

    Returns:
        For each argument whether it is required, and whether any other is accepted too.
    """
    names: dict[str, bool] = {}
    outermost = None
    for base in inspect.getmro(kind)[:-1]:
        if "__init__" not in vars(base):
            continue
        outermost = outermost or base
        parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
        for p in parameters:
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
                # A subclass passes the positional arguments of its base itself.
                passed = base is not outermost and p.kind is not p.KEYWORD_ONLY
                names.setdefault(p.name, p.default is p.empty and not passed)
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            return names, False
    return names, True
