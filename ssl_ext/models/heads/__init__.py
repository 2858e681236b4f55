"""Heads used by several algorithms: from embeddings to a dict of named, weighted loss terms.

A head used by one algorithm is in that algorithm's file and can be imported from here too.
"""

from importlib import import_module
from typing import Any

from .amix_heads import AMixHead, MixBlockHead
from .contrastive_heads import JaccardHead, MoCoHead, SimCLRHead
from .cosine_regression_head import CosineRegressionHead
from .mix_moco_head import MixMoCoHead

ELSEWHERE = {
    "BarlowTwinsHead": "barlow_twins",
    "IMixHead": "moco_variants",
    "MoCHiHead": "moco_variants",
    "ODCHead": "odc",
    "PIRLHead": "pirl",
    "SwAVHead": "swav",
    "TriMixHead": "trimix",
    "VICRegHead": "vicreg",
}

__all__ = [
    "AMixHead",
    "CosineRegressionHead",
    "JaccardHead",
    "MixBlockHead",
    "MixMoCoHead",
    "MoCoHead",
    "SimCLRHead",
]


def __getattr__(name: str) -> Any:
    """Return a head from the file of its algorithm, which imports this package."""
    if name not in ELSEWHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"ssl_ext.models.selfsup.{ELSEWHERE[name]}"), name)
