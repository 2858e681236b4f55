"""Mixing policies for images, and the learned Mix Block with its mask loss."""

from .co_mixup import co_mixup
from .cutmix import cutmix
from .fmix import fmix
from .inter_intra import inter_intra
from .mask import adjust_mask, mask_loss
from .mix_block import MixBlock
from .mixed import Mixed
from .mixup import mixup
from .puzzlemix import puzzlemix
from .resizemix import resizemix
from .saliency import fine_grained_saliency, gradient_saliency
from .saliencymix import saliencymix

__all__ = [
    "MixBlock",
    "Mixed",
    "adjust_mask",
    "co_mixup",
    "cutmix",
    "fine_grained_saliency",
    "fmix",
    "gradient_saliency",
    "inter_intra",
    "mask_loss",
    "mixup",
    "puzzlemix",
    "resizemix",
    "saliencymix",
]
