"""Registered models: algorithms, heads and the multi-view preprocessor."""

from . import classifiers, heads, selfsup
from .backbones import ResNeXt_CIFAR
from .classifiers import *  # noqa: F403
from .data_preprocessor import MultiViewPreprocessor, build_augmentation
from .heads import *  # noqa: F403
from .necks import BiProjector
from .selfsup import *  # noqa: F403

__all__ = [
    "BiProjector",
    "MultiViewPreprocessor",
    "ResNeXt_CIFAR",
    "build_augmentation",
    *classifiers.__all__,
    *heads.__all__,
    *selfsup.__all__,
]
