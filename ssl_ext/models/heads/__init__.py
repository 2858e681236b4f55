"""Heads: from embeddings to a dict of named, weighted loss terms."""

from .barlow_twins_head import BarlowTwinsHead
from .contrastive_heads import JaccardHead, MoCoHead, SimCLRHead
from .cosine_regression_head import CosineRegressionHead
from .pirl_head import PIRLHead
from .swav_head import SwAVHead
from .trimix_head import TriMixHead
from .vicreg_head import VICRegHead

__all__ = [
    "BarlowTwinsHead",
    "CosineRegressionHead",
    "JaccardHead",
    "MoCoHead",
    "PIRLHead",
    "SimCLRHead",
    "SwAVHead",
    "TriMixHead",
    "VICRegHead",
]
