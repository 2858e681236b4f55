"""Registries of this project: children of MMPretrain's, scope ``ssl_ext``.

With ``default_scope = 'ssl_ext'`` a config uses local classes and MMPretrain's classes without a prefix;
if both define a name, the local class is used.

MMEngine's registries import dotted paths that are not registered names. A config from a checkpoint
is checked and built without such imports, by :func:`registered` and :func:`registered_only`.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any
from unittest.mock import patch

from .env import check_openmmlab_family

check_openmmlab_family()

import mmpretrain.registry as parents  # noqa: E402
from mmengine.logging import MMLogger  # noqa: E402
from mmengine.registry import FUNCTIONS as MMENGINE_FUNCTIONS  # noqa: E402
from mmengine.registry import Registry  # noqa: E402

from .logs import plain_lines  # noqa: E402
from .multimodal import import_models  # noqa: E402

import_models()
plain_lines(MMLogger.get_current_instance())

SCOPE = "ssl_ext"
DETECTION = "ssl_ext.detection"


class LazyRegistry(Registry):
    """A registry with one more module, imported only when a name is found nowhere else."""

    def __init__(self, *args, last: str, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.last: str | None = last

    def get(self, key: str) -> type | None:
        """The registered object, or None."""
        found = super().get(key)
        if found is None and self.last:
            last, self.last = self.last, None
            import_module(last)
            found = super().get(key)
        return found


def _child(name: str, parent: Registry, location: str, last: str | None = None) -> Registry:
    settings = dict(parent=parent, scope=SCOPE, locations=[location])
    return LazyRegistry(name, last=last, **settings) if last else Registry(name, **settings)


RUNNERS = _child("runner", parents.RUNNERS, "ssl_ext.engine")
RUNNER_CONSTRUCTORS = _child("runner constructor", parents.RUNNER_CONSTRUCTORS, "ssl_ext.engine")
LOOPS = _child("loop", parents.LOOPS, "ssl_ext.engine")
HOOKS = _child("hook", parents.HOOKS, "ssl_ext.engine", DETECTION)
LOG_PROCESSORS = _child("log processor", parents.LOG_PROCESSORS, "ssl_ext.engine")
OPTIMIZERS = _child("optimizer", parents.OPTIMIZERS, "ssl_ext.engine")
OPTIM_WRAPPERS = _child("optimizer wrapper", parents.OPTIM_WRAPPERS, "ssl_ext.engine")
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    "optimizer wrapper constructor", parents.OPTIM_WRAPPER_CONSTRUCTORS, "ssl_ext.engine"
)
PARAM_SCHEDULERS = _child("parameter scheduler", parents.PARAM_SCHEDULERS, "ssl_ext.engine")
DATASETS = _child("dataset", parents.DATASETS, "ssl_ext.datasets", DETECTION)
DATA_SAMPLERS = _child("data sampler", parents.DATA_SAMPLERS, "ssl_ext.datasets")
TRANSFORMS = _child("transform", parents.TRANSFORMS, "ssl_ext.datasets")
FUNCTIONS = _child("function", MMENGINE_FUNCTIONS, "ssl_ext.datasets", DETECTION)
MODELS = _child("model", parents.MODELS, "ssl_ext.models", DETECTION)
MODEL_WRAPPERS = _child("model wrapper", parents.MODEL_WRAPPERS, "ssl_ext.models")
WEIGHT_INITIALIZERS = _child("weight initializer", parents.WEIGHT_INITIALIZERS, "ssl_ext.models")
BATCH_AUGMENTS = _child("batch augment", parents.BATCH_AUGMENTS, "ssl_ext.models")
TASK_UTILS = _child("task util", parents.TASK_UTILS, "ssl_ext.models")
METRICS = _child("metric", parents.METRICS, "ssl_ext.engine")
EVALUATORS = _child("evaluator", parents.EVALUATORS, "ssl_ext.engine")
VISUALIZERS = _child("visualizer", parents.VISUALIZERS, "ssl_ext.engine")
VISBACKENDS = _child("vis_backend", parents.VISBACKENDS, "ssl_ext.engine")

# A registry separate from TRANSFORMS, where the same names (RandomResizedCrop, ColorJitter, ...) are
# MMPretrain's per-sample transforms, which its data sets need.
AUGMENTATIONS = Registry("augmentation", scope=SCOPE, locations=["ssl_ext.models"])

# Registered classes that load files, download models or run code of a model hub.
LOADERS = {
    *("CLIPGenerator", "HuggingFaceClassifier", "ImageToImageRetriever", "Pretrained", "TIMMBackbone"),
    *("TimmClassifier", "VQAGenerationHead", "VQKD"),
}


def registered(name: Any, registry: Registry | None = None) -> type | None:
    """Return the network class registered as ``name``, with or without its scope, or None.

    ``name`` may also be the dotted path of a registered class in a module that is already imported.
    Nothing is imported. Classes that load files themselves are excluded.

    Args:
        name: Of any type, because it may come from a file.
        registry: Search it and its parents; default: all registries of network classes.

    >>> registered("mmpretrain.ResNet").__name__
    'ResNet'
    >>> registered("subprocess.Popen")
    """
    if not isinstance(name, str):
        return None
    prefix, _, key = name.rpartition(".")
    for place in _with_parents(*([registry] if registry else _parts_of_networks())):
        found = place.module_dict.get(key)
        if not isinstance(found, type) or key in LOADERS or ".multimodal." in found.__module__:
            continue
        at_path = getattr(sys.modules.get(prefix), "__dict__", {}).get(key)
        if name in (key, f"{place.scope}.{key}") or at_path is found:
            return found
    return None


def registered_data(name: Any) -> type | None:
    """Return this project's data set or transform of a name, with or without its scope, or None."""
    DATASETS.import_from_location()
    key = name.removeprefix(f"{SCOPE}.") if isinstance(name, str) else None
    return DATASETS.module_dict.get(key) or TRANSFORMS.module_dict.get(key)


@contextmanager
def registered_only() -> Iterator[None]:
    """Restrict registries to the classes that :func:`registered` finds, without imports."""

    def get(self: Registry, key: str) -> type | None:
        return registered(key, self)

    def imported(name: str) -> Any:
        if name not in sys.modules:
            raise ImportError(f"{name} is not imported for a config that the user did not name")
        return sys.modules[name]

    _parts_of_networks()
    with patch.object(Registry, "get", get), patch("mmengine.registry.registry.import_module", imported):
        yield


def _parts_of_networks() -> list[Registry]:
    """Registries of network classes, with all their modules imported."""
    import_module(DETECTION)
    found = [MODELS, AUGMENTATIONS, BATCH_AUGMENTS, WEIGHT_INITIALIZERS]
    for registry in _with_parents(*found):
        if registry.scope != "mmengine":
            registry.import_from_location()
    return found


def _with_parents(*registries: Registry) -> Iterator[Registry]:
    for registry in registries:
        yield registry
        if registry.parent is not None:
            yield from _with_parents(registry.parent)
