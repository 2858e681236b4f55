"""Reading of JSON and YAML files, and validation against types; errors are one sentence."""

from __future__ import annotations

import json
import math
import os
import sys
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import UserError
from .files import check_file, shown

MAX_BYTES = 4 * 2**30
MAX_DEPTH = 100
# Largest number of values to which a YAML file may expand by aliases.
MAX_VALUES = 10**6
WORDS = {dict: "an object", list: "a list", str: "a text", int: "a whole number", float: "a number"}
# Key for the type of all keys not listed.
OTHERS = "*"
T = TypeVar("T")


def read_json(path: str | os.PathLike, shape: type[T], what: str) -> T:
    """Read a JSON file and validate its type.

    Args:
        path: Path of the file.
        shape: Expected type: a plain type, ``list[...]``, ``dict[str, ...]``, a union, or a dataclass. Fields
            of a dataclass without a default are required, unknown keys are dropped. A dict ``{key: type}``,
            also in ``Annotated[dict[str, Any], ...]``, gives the types of optional keys, and under
            :data:`OTHERS` the type of all others. A tuple of types is a union.
        what: Kind of the file, for messages.

    Raises:
        UserError: The file is missing, larger than 4 GiB, not JSON, nested more than 100 times, or does not
            have the expected type.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w+") as file:
    ...     _ = file.write('{"a": [1, 2]}')
    ...     file.flush()
    ...     read_json(file.name, dict[str, list[int]], "a table")
    {'a': [1, 2]}
    """
    data = read_bytes(path)
    try:
        content = json.loads(data.decode("utf-8-sig"))
        if b"\\u0000" in data:
            raise ValueError("it has the character NUL, which paths cannot have")
        check_depth(content)
        if b"\\ud" in data.lower():
            content = _printable(content)
        return shaped(content, shape)
    except (ValueError, RecursionError) as error:
        raise UserError(f"'{shown(path)}' is not {what} ({_reason(error)}).") from error


def read_yaml(path: str | os.PathLike) -> Any:
    """Read a YAML file of plain values; aliases may expand it to up to a million values.

    Raises:
        UserError: The file is missing, larger than 4 GiB, not YAML of plain values, nested more than 100
            times, or too large when aliases are expanded.
    """
    import yaml

    try:
        content = yaml.safe_load(read_bytes(path))
        check_depth(content)
        return content
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"'{shown(path)}' is not a YAML file of plain values ({_reason(error)}).") from error


def _printable(value: Any) -> Any:
    """Escape file-name bytes that are not UTF-8 in JSON values."""
    if isinstance(value, dict):
        return {shown(key): _printable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_printable(item) for item in value]
    return shown(value) if isinstance(value, str) else value


def _reason(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())


def read_bytes(path: str | os.PathLike) -> bytes:
    """Read a regular file of up to 4 GiB.

    Raises:
        UserError: The file is missing, not a regular file, too large, or cannot be read.
    """
    path = check_file(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"'{shown(path)}' is larger than {MAX_BYTES} bytes.")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"'{shown(path)}' cannot be read: {error.strerror}.") from error


def check_depth(value: Any) -> None:
    """Raise ValueError for nesting deeper than 100, or aliases that expand to more than a million values."""
    seen: set[int] = set()
    aliased = 0
    stack = [(value, 1)] if isinstance(value, dict | list) else []
    while stack:
        value, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} times")
        aliased += (len(value) + 1) * (id(value) in seen)
        if aliased > MAX_VALUES:
            raise ValueError(f"its aliases expand it to more than {MAX_VALUES} values")
        seen.add(id(value))
        inner = value.values() if isinstance(value, dict) else value
        stack += [(item, depth + 1) for item in inner if isinstance(item, dict | list)]


def shaped(value: Any, hint: Any, place: str = "") -> Any:
    """Convert a JSON value to a type (:func:`read_json`); raise ValueError if it does not match."""
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if kind is Annotated:
        kind = hint = inner[1]
    if kind is Any:
        return value
    if isinstance(kind, Mapping):
        _check(value, dict, place)
        return {key: shaped(item, _hint(kind, key), f"{place}.{key:.40}") for key, item in value.items()}
    if isinstance(kind, tuple) or kind in (Union, types.UnionType):
        return _one_of(value, inner or kind, place)
    if is_dataclass(kind):
        return _record(value, kind, place)
    _check(value, kind, place)
    if kind is list and inner:
        return [shaped(item, inner[0], f"{place}[{number}]") for number, item in enumerate(value)]
    if kind is dict and inner:
        return {key: shaped(item, inner[1], f"{place}.{key:.40}") for key, item in value.items()}
    return value


def _hint(hints: Mapping[str, Any], key: str) -> Any:
    return hints.get(key, hints.get(OTHERS, Any))


def _check(value: Any, kind: Any, place: str) -> None:
    # An integer is accepted as a float; bool is a subclass of int.
    wanted = (int, float) if kind is float else kind
    fits = isinstance(value, wanted) and (kind is bool or not isinstance(value, bool))
    if not fits or (kind is float and abs(value) != math.inf and abs(value) > sys.float_info.max):
        text = json.dumps(value)
        text = f"{text[:40]}…" if len(text) > 40 else text
        where = f"{place.removeprefix('.')}: " if place else ""
        raise ValueError(f"{where}{WORDS.get(kind, kind.__name__)} is needed, not {text}")


def _one_of(value: Any, kinds: tuple[Any, ...], place: str) -> Any:
    named = [kind for kind in kinds if kind not in (None, types.NoneType)]
    if value is None and len(named) < len(kinds):
        return None
    for kind in named[:-1]:
        try:
            return shaped(value, kind, place)
        except ValueError:
            continue
    return shaped(value, named[-1], place)


def _record(value: Any, kind: Any, place: str) -> Any:
    _check(value, dict, place)
    hints = get_type_hints(kind, include_extras=True)
    found = {key: shaped(value[key], hint, f"{place}.{key}") for key, hint in hints.items() if key in value}
    needed = [e.name for e in fields(kind) if e.default is MISSING and e.default_factory is MISSING]
    if lacking := [name for name in needed if name not in found]:
        raise ValueError(f"{place.removeprefix('.') or 'it'} lacks {', '.join(lacking)}")
    return kind(**found)
