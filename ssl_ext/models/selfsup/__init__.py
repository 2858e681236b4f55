"""Self-supervised algorithms: wiring only; the mathematics is in :mod:`ssl_ext.losses`."""

from .amix import AMixC, AMixI
from .barlow_twins import BarlowTwins
from .base import SelfSupervisedModel
from .byol import BYOL
from .cross import Cross
from .mix_moco import BSIM, MixMoCo, UnMix
from .moco import JaccardMoCo, MoCo
from .moco_variants import IMix, MoCHi
from .odc import ODC
from .pirl import PIRL
from .plain_backbone import PlainBackbone
from .simclr import JaccardSimCLR, SimCLR
from .simsiam import SimSiam
from .swav import SwAV
from .tribyol import TriBYOL
from .trimix import TriMix
from .vicreg import VICReg

__all__ = [
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
