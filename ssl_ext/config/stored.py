"""Reading the config of a checkpoint's training without running it."""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ssl_ext.errors import UserError
from ssl_ext.files import file_fault, shown
from ssl_ext.registry import MODELS, registered, registered_data

from .kinds import short, walk
from .load import load_config
from .networks import without_pretrained

# The keys of a stored config that are used.
KEPT = ("model", "data_preprocessor", "views", "init")
# Those that evaluation uses too.
MEASURED = ("channels_last", "evaluation", "evaluation_dataset", "train_dataloader")
INITIAL = "initial_weights"
# Parts of a model that its backbone does not need, and the method of a backbone without them.
PRETEXT = ("head", "neck", "predictor")
BACKBONE_ALONE = "PlainBackbone"
PACKAGES = ("ssl_ext", "mmpretrain", "mmengine")
SCOPES = (None, "ssl_ext", "mmpretrain", "mmengine")


def config_of_checkpoint(
    path: str | os.PathLike,
    checkpoint: Any,
    config: Config | str | os.PathLike | None = None,
    *,
    data: bool = False,
) -> Config:
    """Return the given config, else that in the checkpoint's metadata, else the only config file beside it.

    A config is a Python program. If the user did not name it, it may come from the same source as the weights
    and is read by :func:`untrusted_config`.

    Args:
        path: Path of the checkpoint.
        checkpoint: Content of the checkpoint.
        config: Config named by the user, if any.
        data: Read the data sets and the recipes of evaluation too, not the network alone.

    Raises:
        UserError: There is no config, more than one, or one that :func:`untrusted_config` rejects.
    """
    if config is not None:
        return load_config(config)
    stored = stored_config(checkpoint, path, data=data)
    if stored is not None:
        return stored
    found = sorted(file for file in Path(path).parent.glob("*.py") if not file_fault(file))
    if len(found) != 1:
        state = f"{len(found)} config files beside it" if found else "no config in it or beside it"
        raise UserError(f"Checkpoint '{path}' has {state}: give the config of its training (--config).")
    text = found[0].read_text(encoding="utf-8", errors="replace")
    return untrusted_config(text, f"The config '{found[0]}'", data=data)


def stored_config(checkpoint: Any, path: str | os.PathLike, *, data: bool = False) -> Config | None:
    """Return the config in a checkpoint's metadata, or None; ``data`` as in :func:`config_of_checkpoint`.

    Raises:
        UserError: :func:`untrusted_config` rejects it.
    """
    meta = checkpoint.get("meta") if isinstance(checkpoint, Mapping) else None
    text = meta.get("cfg") if isinstance(meta, Mapping) else None
    if not isinstance(text, str) or not text:
        return None
    return untrusted_config(text, f"The config inside '{path}'", data=data)


def network_text(config: Config) -> str:
    """Text of the network's settings that :func:`stored_config` reads; without those that load weights."""
    kept = {key: value for key, value in config.to_dict().items() if key in KEPT}
    return "\n".join(f"{key} = {without_pretrained(value)!r}" for key, value in kept.items())


def stored_training(training: Mapping[str, Any]) -> dict[str, Any]:
    """Method, data sets, seed, steps, epochs and initial weights of the training that a checkpoint records.

    Missing values are omitted; the stored config is parsed as plain values and never run.

    Args:
        training: ``meta`` and ``message_hub`` of the checkpoint (:attr:`.LoadReport.training`).
    """
    meta, hub = (training.get(key) for key in ("meta", "message_hub"))
    meta = meta if isinstance(meta, Mapping) else {}
    info = hub.get("runtime_info") if isinstance(hub, Mapping) else None
    try:
        config = read_plain_config(str(meta.get("cfg") or ""))
    except (SyntaxError, ValueError, TypeError, AttributeError, RecursionError, MemoryError):
        config = {}

    def value(*keys: str) -> Any:
        found: Any = config
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found

    dataset, model = value("train_dataloader", "dataset"), value("model")
    known = {
        "method": method_name(model) if isinstance(value("model", "type"), str) else None,
        "datasets": [dataset] if dataset else None,
        "seed": value("randomness", "seed"),
        "iter": meta.get("iter"),
        "epoch": meta.get("epoch"),
        INITIAL: info.get(INITIAL) if isinstance(info, Mapping) else None,
    }
    return {key: found for key, found in known.items() if found is not None}


def unfinished(path: str | os.PathLike, checkpoint: Mapping[str, Any]) -> str | None:
    """Say that a checkpoint was written before the end of its training; None at the end or if unknown."""
    meta = checkpoint.get("meta")
    meta = meta if isinstance(meta, Mapping) else {}
    try:
        planned = read_plain_config(str(meta.get("cfg") or "")).get("train_cfg")
    except (SyntaxError, ValueError, TypeError, AttributeError, RecursionError, MemoryError):
        return None
    for unit, key, limit in (("epoch", "epoch", "max_epochs"), ("iteration", "iter", "max_iters")):
        total = planned.get(limit) if isinstance(planned, Mapping) else None
        match meta.get(key), total:
            case int(done), int(total) if done < total:
                return f"The training is unfinished: '{shown(path)}' is of {unit} {done} of {total}."
    return None


def method_name(model: Mapping[str, Any]) -> str:
    """Name of the method of a model config: the class of its head if that is a user's own, else its class.

    >>> method_name(dict(type="BarlowTwins", head=dict(type="OwnHead")))
    'OwnHead'
    >>> method_name(dict(type="mmpretrain.SimCLR", head=dict(type="ContrastiveHead")))
    'SimCLR'
    """
    head = model.get("head")
    name = head.get("type") if isinstance(head, Mapping) else None
    if isinstance(name, str):
        MODELS.import_from_location()
        found = registered(name, MODELS)
        if found is None or found.__module__.partition(".")[0] not in PACKAGES:
            return name.rpartition(".")[2]
    return str(model["type"]).rpartition(".")[2]


def untrusted_config(text: str, what: str, *, data: bool = False) -> Config:
    """Read the network settings of a config text, which is parsed as plain values and never run.

    With ``data`` also the data sets and the recipes of evaluation. If the head, neck or predictor has a class
    that is not registered (a user's own), the model is its backbone and preprocessing alone.

    Every other ``type`` must be the name of a registered class that does not load files itself; settings that
    load weights are dropped. Build it within :func:`ssl_ext.registry.registered_only`.

    Raises:
        UserError: The text holds anything but plain values, a ``_base_``, or another class.
    """
    named = "a config is run only if you name it (--config, in Python config=)."
    try:
        values = read_plain_config(text)
        if "_base_" in values:
            raise ValueError("it has a _base_")
        kept = (*KEPT, *MEASURED) if data else KEPT
        config = Config(without_pretrained({key: values[key] for key in kept if key in values}))
        if loader := config.get("train_dataloader"):
            config.train_dataloader = dict(dataset=loader.get("dataset"))
        _drop_unknown_pretext(config)
    except (SyntaxError, ValueError, TypeError, AttributeError, RecursionError, MemoryError) as error:
        reason = str(error) or "it is nested too deeply"
        raise UserError(f"{what} has other content than plain values ({reason}); {named}") from error
    for key, value in walk(config.to_dict()):
        name = key.rpartition(".")[2]
        of_data = key.startswith(MEASURED[2:])
        if name == "type" and not (registered_data(value) if of_data else registered(value)):
            kind = "data set" if of_data else "network class"
            raise UserError(f"{what} has {key}={short(value)}, which is not a registered {kind}; {named}")
        if name == "_scope_" and value not in SCOPES:
            raise UserError(f"{what} has {key}={short(value)}; {named}")
    try:
        return load_config(config)
    except UserError as error:
        raise UserError(f"{what} cannot be used: {error} Name another config (--config).") from error


def _drop_unknown_pretext(config: Config) -> None:
    """Reduce the model to its backbone and preprocessing if a part that these do not need is unknown."""
    model = config.get("model")
    if not isinstance(model, Mapping) or not registered(model.get("type")):
        return
    parts = {part: model[part] for part in PRETEXT if part in model}
    if all(registered(value) for key, value in walk(parts) if key.rpartition(".")[2] == "type"):
        return
    kept = {key: model[key] for key in ("backbone", "data_preprocessor") if key in model}
    config.model = {"type": BACKBONE_ALONE, **kept}


def read_plain_config(text: str) -> dict[str, Any]:
    """Parse a config text of assignments of literals and ``dict(...)``; nothing is run.

    >>> read_plain_config("model = dict(type='SimCLR', neck=dict(layers=[1, 2]))")
    {'model': {'type': 'SimCLR', 'neck': {'layers': [1, 2]}}}

    Raises:
        ValueError: The text holds anything else.
        SyntaxError: The text is not Python.
    """
    values = {}
    for statement in ast.parse(text).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                values[name] = _value(value)
            case _:
                raise ValueError(f"line {statement.lineno}: {ast.unparse(statement)[:60]}")
    return values


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Call(func=ast.Name(id="dict"), args=[], keywords=pairs) if all(p.arg for p in pairs):
            return {pair.arg: _value(pair.value) for pair in pairs}
        case ast.Call(func=ast.Name(id="dict"), args=[ast.Dict() as only], keywords=[]):
            # The form for keys that are not identifiers.
            return _value(only)
        case ast.Dict(keys=keys, values=items) if None not in keys:
            return {_value(key): _value(item) for key, item in zip(keys, items, strict=True) if key}
        case ast.List(elts=items):
            return [_value(item) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_value(item) for item in items)
        case ast.Name(id="inf" | "nan" as name):
            return float(name)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Name(id="inf")):
            return -float("inf")
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise ValueError(f"line {node.lineno}: {ast.unparse(node)[:60]}") from error
