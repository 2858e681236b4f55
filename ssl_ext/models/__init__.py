"""Registered models: algorithms, heads and the multi-view preprocessor."""

from . import classifiers, heads, selfsup
from .backbones import ResNet_CIFAR_MaxPool, ResNeXt_CIFAR, ResNeXt_CIFAR_MaxPool
from .classifiers import *  # noqa: F403
from .data_preprocessor import MultiViewPreprocessor, build_augmentation
from .heads import *  # noqa: F403
from .necks import BiProjector
from .selfsup import *  # noqa: F403

__all__ = [
    "BiProjector",
    "MultiViewPreprocessor",
    "ResNeXt_CIFAR",
    "ResNeXt_CIFAR_MaxPool",
    "ResNet_CIFAR_MaxPool",
    "build_augmentation",
    *classifiers.__all__,
    *heads.__all__,
    *selfsup.__all__,
]
