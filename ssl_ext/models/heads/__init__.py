"""Heads: from embeddings to a dict of named, weighted loss terms."""

from .barlow_twins_head import BarlowTwinsHead
from .contrastive_heads import JaccardHead, MoCoHead, SimCLRHead
from .cosine_regression_head import CosineRegressionHead
from .mix_block_head import MixBlockHead
from .mix_moco_head import AMixHead, MixMoCoHead
from .moco_variant_heads import IMixHead, MoCHiHead
from .odc_head import ODCHead
from .pirl_head import PIRLHead
from .swav_head import SwAVHead
from .trimix_head import TriMixHead
from .vicreg_head import VICRegHead

__all__ = [
    "AMixHead",
    "BarlowTwinsHead",
    "CosineRegressionHead",
    "IMixHead",
    "JaccardHead",
    "MixMoCoHead",
    "MoCHiHead",
    "MixBlockHead",
    "MoCoHead",
    "ODCHead",
    "PIRLHead",
    "SimCLRHead",
    "SwAVHead",
    "TriMixHead",
    "VICRegHead",
]
