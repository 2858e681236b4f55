"""Backbones that MMPretrain does not have."""

from .max_pool_stem import ResNet_CIFAR_MaxPool, ResNeXt_CIFAR_MaxPool
from .resnext_cifar import ResNeXt_CIFAR

__all__ = ["ResNeXt_CIFAR", "ResNeXt_CIFAR_MaxPool", "ResNet_CIFAR_MaxPool"]
