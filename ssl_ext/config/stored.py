"""The config of a checkpoint, read without running code that came with it."""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ssl_ext.errors import UserError

from .load import load_config


def config_of_checkpoint(
    path: str | os.PathLike, checkpoint: Any, config: Config | str | os.PathLike | None = None
) -> Config:
    """The given config, else the one in the checkpoint's metadata, else the only config file beside it.

    A config is a Python program. One that was not named by the user may have come with weights from
    elsewhere: it is taken if it consists of plain values, as configs of finished runs do.

    Args:
        path: Of the checkpoint.
        checkpoint: Its content.
        config: The config that the user named, if any.

    Raises:
        UserError: There is none, more than one, or one that is more than plain values.
    """
    if config is not None:
        return load_config(config)
    meta = checkpoint.get("meta") if isinstance(checkpoint, Mapping) else None
    text = meta.get("cfg") if isinstance(meta, Mapping) else None
    if isinstance(text, str) and text:
        return _plain_config(text, f"The config inside '{path}'")
    found = sorted(Path(path).parent.glob("*.py"))
    if len(found) != 1:
        state = f"{len(found)} config files beside it" if found else "no config in it and none beside it"
        raise UserError(f"Checkpoint '{path}' has {state}: name the one it was trained with (--config).")
    return _plain_config(found[0].read_text(encoding="utf-8"), f"The config '{found[0]}'")


def _plain_config(text: str, what: str) -> Config:
    try:
        values = read_plain_config(text)
        if "_base_" in values:
            raise ValueError("it has a _base_")
        return load_config(Config(values))
    except (SyntaxError, ValueError, TypeError, RecursionError) as error:
        raise UserError(
            f"{what} is more than a list of plain values ({error}), and only a config that was named is run: "
            "name it (--config)."
        ) from error


def read_plain_config(text: str) -> dict[str, Any]:
    """Values of a config text of assignments of literals and ``dict(...)``; nothing is run.

    >>> read_plain_config("model = dict(type='SimCLR', neck=dict(layers=[1, 2]))")
    {'model': {'type': 'SimCLR', 'neck': {'layers': [1, 2]}}}

    Raises:
        ValueError: Anything else is in it.
        SyntaxError: It is not Python.
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
            # How names that are no identifiers are written.
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
