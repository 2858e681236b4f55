"""Registries of this project: children of MMPretrain's, scope ``ssl_ext``.

With ``default_scope = 'ssl_ext'`` a config names local classes and MMPretrain's classes alike,
without a prefix; where both define a name the local one wins.
"""

from importlib import import_module

from .env import check_openmmlab_family

check_openmmlab_family()

import mmpretrain.registry as parents  # noqa: E402
from mmengine.registry import FUNCTIONS as MMENGINE_FUNCTIONS  # noqa: E402
from mmengine.registry import Registry  # noqa: E402

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

# Batched tensor augmentations live beside, not inside, the TRANSFORMS tree: there the same names
# (RandomResizedCrop, ColorJitter, ...) mean MMPretrain's per-sample transforms, which its own
# datasets need.
AUGMENTATIONS = Registry("augmentation", scope=SCOPE, locations=["ssl_ext.models"])
