"""Conversion of the classes in a pure-Python config to registered names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry

from ssl_ext import registry


def name_classes(config: Config) -> None:
    """Replace, in place, each class or function at a key ``type`` by its registered name.

    A class that is not registered, or whose name belongs to another class, is not replaced.
    """
    for node in _dicts(config._cfg_dict):
        kind = node.get("type")
        if callable(kind) and (name := _registered_name(kind)):
            node["type"] = name


def _dicts(value: Any) -> Iterator[dict]:
    if isinstance(value, dict):
        yield value
    if isinstance(value, (dict, list, tuple)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _dicts(inner)


def _registered_name(kind: Any) -> str | None:
    for place in vars(registry).values():
        if not isinstance(place, Registry):
            continue
        name = next((n for n, found in _own_and_inherited(place) if found is kind), None)
        if name and place.get(name) is kind:
            return name
    return None


def _own_and_inherited(place: Registry) -> Iterator[tuple[str, Any]]:
    while place is not None:
        place.import_from_location()
        yield from place.module_dict.items()
        place = place.parent
