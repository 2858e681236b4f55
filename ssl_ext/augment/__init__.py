"""Batched tensor augmentations in plain torch, with separate random parameters for every sample.

All of them take images (N, C, H, W), uint8 or floating point in [0, 1], on any device, and return
float32 images in [0, 1] (``Normalize`` leaves that range). For given parameters each equals
torchvision's operation on one tensor image (``RandomEqualize`` Pillow's, on the luma), and the parameters
follow torchvision's distributions. ``draw_views`` draws several views of a batch with the
fastest implementation for the device.
"""

from ssl_ext.augment.base import Augmentation, Params
from ssl_ext.augment.blur import GaussianBlur
from ssl_ext.augment.equalize import RandomEqualize
from ssl_ext.augment.flip import RandomHorizontalFlip
from ssl_ext.augment.jitter import ORDERS, ColorJitter
from ssl_ext.augment.photometric import Normalize, RandomGrayscale, RandomSolarize
from ssl_ext.augment.random_crop import RandomCrop
from ssl_ext.augment.resized_crop import RandomResizedCrop
from ssl_ext.augment.rotation import RandomRotation
from ssl_ext.augment.sequence import AugmentationSequence
from ssl_ext.augment.sharpness import RandomSharpness
from ssl_ext.augment.views import draw_views

__all__ = [
    "ORDERS",
    "Augmentation",
    "AugmentationSequence",
    "ColorJitter",
    "GaussianBlur",
    "Normalize",
    "Params",
    "RandomCrop",
    "RandomEqualize",
    "RandomGrayscale",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomSharpness",
    "RandomSolarize",
    "draw_views",
]
