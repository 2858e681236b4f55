"""Two projectors on one feature."""

from __future__ import annotations

from mmengine.model import BaseModule
from mmpretrain.models.necks import NonLinearNeck
from torch import Tensor

from ssl_ext.registry import MODELS


@MODELS.register_module()
class BiProjector(BaseModule):
    """The neck of the Jaccard method (Jiang et al., Fig. 1): projectors g1 and g2 of equal shape.

    They share no weights and are initialised independently. In the paper each has two linear layers.

    Args:
        in_channels: Size of the backbone features.
        hid_channels: Size of the hidden layers.
        out_channels: Size of each embedding.
        num_layers: Linear layers of each projector.
        with_avg_pool: Average-pool feature maps first; False for features that are already pooled.
        **kwargs: Further arguments of each :class:`mmpretrain.models.NonLinearNeck`.
    """

    def __init__(
        self,
        in_channels: int,
        hid_channels: int,
        out_channels: int,
        num_layers: int = 2,
        with_avg_pool: bool = False,
        **kwargs,
    ) -> None:
        super().__init__()
        sizes = (in_channels, hid_channels, out_channels)
        kwargs.update(num_layers=num_layers, with_avg_pool=with_avg_pool)
        self.projector1 = NonLinearNeck(*sizes, **kwargs)
        self.projector2 = NonLinearNeck(*sizes, **kwargs)

    def forward(self, inputs: tuple[Tensor]) -> tuple[Tensor, Tensor]:
        """Embeddings z1 and z2, each (N, out_channels), of a tuple with one tensor (N, in_channels)."""
        return (*self.projector1(inputs), *self.projector2(inputs))
