"""Self-supervised algorithms: wiring only; the mathematics is in :mod:`ssl_ext.losses`."""

from .barlow_twins import BarlowTwins
from .base import SelfSupervisedModel
from .byol import BYOL
from .cross import Cross
from .moco import JaccardMoCo, MoCo
from .pirl import PIRL
from .plain_backbone import PlainBackbone
from .simclr import JaccardSimCLR, SimCLR
from .simsiam import SimSiam
from .swav import SwAV
from .tribyol import TriBYOL
from .trimix import TriMix
from .vicreg import VICReg

__all__ = [
    "BYOL",
    "PIRL",
    "BarlowTwins",
    "Cross",
    "JaccardMoCo",
    "JaccardSimCLR",
    "MoCo",
    "PlainBackbone",
    "SelfSupervisedModel",
    "SimCLR",
    "SimSiam",
    "SwAV",
    "TriBYOL",
    "TriMix",
    "VICReg",
]
