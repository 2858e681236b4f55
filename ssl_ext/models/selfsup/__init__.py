"""Self-supervised algorithms: wiring only; the mathematics is in :mod:`ssl_ext.losses`."""

from .barlow_twins import BarlowTwins
from .base import SelfSupervisedModel
from .trimix import TriMix

__all__ = ["BarlowTwins", "SelfSupervisedModel", "TriMix"]
