"""Self-supervised algorithms, each with its own head; the losses are in :mod:`ssl_ext.losses`."""

from .amix import AMixC, AMixI
from .barlow_twins import BarlowTwins, BarlowTwinsHead
from .base import SelfSupervisedModel, TrainableModel
from .byol import BYOL
from .cross import Cross
from .mix_moco import BSIM, MixMoCo, UnMix
from .moco import JaccardMoCo, MoCo
from .moco_variants import IMix, IMixHead, MoCHi, MoCHiHead
from .odc import ODC, ODCHead
from .pirl import PIRL, PIRLHead
from .plain_backbone import PlainBackbone
from .simclr import JaccardSimCLR, SimCLR
from .simsiam import SimSiam
from .swav import SwAV, SwAVHead
from .tribyol import TriBYOL
from .trimix import TriMix, TriMixHead
from .vicreg import VICReg, VICRegHead
from .w_mse import WMSE, WMSEHead

__all__ = [
    "WMSE",
    "WMSEHead",
    "BarlowTwinsHead",
    "IMixHead",
    "MoCHiHead",
    "ODCHead",
    "PIRLHead",
    "SwAVHead",
    "TriMixHead",
    "VICRegHead",
    "TrainableModel",
    "BSIM",
    "BYOL",
    "ODC",
    "PIRL",
    "AMixC",
    "AMixI",
    "BarlowTwins",
    "Cross",
    "IMix",
    "JaccardMoCo",
    "JaccardSimCLR",
    "MixMoCo",
    "MoCHi",
    "MoCo",
    "PlainBackbone",
    "SelfSupervisedModel",
    "SimCLR",
    "SimSiam",
    "SwAV",
    "TriBYOL",
    "TriMix",
    "UnMix",
    "VICReg",
]
