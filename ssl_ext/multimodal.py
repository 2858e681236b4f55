"""MMPretrain's multimodal models, imported only when one of them is used.

``mmpretrain.models`` imports them and ``transformers``, which takes seconds and fails with version 5.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module, reload
from importlib.abc import MetaPathFinder
from typing import Any
from unittest.mock import patch

from mmengine.registry import Registry
from mmpretrain.utils import dependency

MODELS = "mmpretrain.models"
MULTIMODAL = f"{MODELS}.multimodal"
UTILS = f"{MODELS}.utils"


class _Deferred(MetaPathFinder):
    """Placeholders for registered names, removed before the first multimodal module is imported."""

    def __init__(self) -> None:
        self.placeholders: list[tuple[Registry, str]] = []

    def register(self, names: Sequence[str], registry: Registry) -> None:
        """Replacement of MMPretrain's function that registers placeholders if packages are missing."""
        for name in names:
            registry.register_module(name=name, module=_placeholder(name))
            self.placeholders.append((registry, name))

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Find nothing; remove the placeholders, so that the module can register its classes."""
        if name.startswith(f"{MULTIMODAL}."):
            sys.meta_path.remove(self)
            for registry, key in self.placeholders:
                del registry.module_dict[key]
            # It defines more names when multimodal models are available.
            reload(sys.modules[UTILS])


def _placeholder(name: str) -> Callable[..., Any]:
    def build(*args: Any, **kwargs: Any) -> Any:
        return getattr(sys.modules[MULTIMODAL], name)(*args, **kwargs)

    return build


def _load(name: str) -> Any:
    """Attribute ``name`` of MMPretrain's multimodal package, which is imported now."""
    module = sys.modules[MULTIMODAL]
    if not name.startswith("__") and vars(module).pop("__getattr__", None):
        return getattr(reload(module), name)
    raise AttributeError(f"module {MULTIMODAL!r} has no attribute {name!r}")


def import_models() -> None:
    """Import ``mmpretrain.models`` without its multimodal models, unless that is imported already."""
    if MODELS in sys.modules or not dependency.WITH_MULTIMODAL:
        return
    deferred = _Deferred()
    changes = dict(WITH_MULTIMODAL=False, register_multimodal_placeholder=deferred.register)
    with patch.multiple(dependency, **changes):
        vars(import_module(MULTIMODAL))["__getattr__"] = _load
    sys.meta_path.insert(0, deferred)
