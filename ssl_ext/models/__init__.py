"""Registered models: algorithms, heads and the multi-view preprocessor."""

from .data_preprocessor import MultiViewPreprocessor, build_augmentation
from .heads import BarlowTwinsHead, TriMixHead
from .selfsup import BarlowTwins, SelfSupervisedModel, TriMix

__all__ = [
    "BarlowTwins",
    "BarlowTwinsHead",
    "MultiViewPreprocessor",
    "SelfSupervisedModel",
    "TriMix",
    "TriMixHead",
    "build_augmentation",
]
