"""Classifier with two heads whose EMA copy is used for inference."""

from __future__ import annotations

from torch import Tensor, nn

from ssl_ext.models.selfsup.base import EMAModel
from ssl_ext.models.utils import MomentumNetwork, pool_features
from ssl_ext.registry import MODELS

from .base import ImageClassifier


class MomentumClassifier(EMAModel, ImageClassifier):
    """Backbone, a head for plain images, a head for mixed images, and the EMA of all three.

    The copy, ``deployed``, starts equal to the initialised (or loaded) network and is updated after every
    optimiser step; its running statistics come from its own passes. When a checkpoint is loaded as weights,
    the copy's tensors replace the network's (:func:`ssl_ext.engine.weights.load.load_weights`).

    Args:
        momentum: EMA momentum of the copy, in [0, 1].
        momentum_schedule: ``'cosine'`` (from ``momentum`` to 1 over the run) or ``'constant'``.
        **kwargs: ``backbone``, ``head`` (built twice) and ``data_preprocessor``.

    Raises:
        ValueError: A momentum out of range or an unknown schedule.
    """

    prediction = "plain_momentum"
    exported_network = "momentum"

    def __init__(self, *, momentum: float = 0.999, momentum_schedule: str = "cosine", **kwargs) -> None:
        super().__init__(momentum=momentum, momentum_schedule=momentum_schedule, **kwargs)
        self.mix_head = MODELS.build(kwargs["head"])
        self.deployed = MomentumNetwork(self.backbone, self.heads)

    @property
    def heads(self) -> nn.ModuleDict:
        """The head for plain images and the one for mixed images."""
        return nn.ModuleDict(dict(head=self.head, mix_head=self.mix_head))

    def logits(self, images: Tensor) -> dict[str, Tensor]:
        """Predictions (N, K) of both heads, of the network and of its EMA copy."""
        predictions = {}
        for suffix, backbone, heads in (
            ("", self.backbone, self.heads),
            ("_momentum", self.deployed.backbone, self.deployed.neck),
        ):
            features = (pool_features(backbone(images)),)
            predictions[f"plain{suffix}"] = heads["head"](features)
            predictions[f"mix{suffix}"] = heads["mix_head"](features)
        return predictions

    def ema_source(self) -> tuple[nn.Module, nn.Module]:
        """Backbone and both heads."""
        return self.backbone, self.heads
