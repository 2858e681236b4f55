"""Random horizontal flip."""

import torch
from torch import Tensor

from ssl_ext.augment.base import Augmentation, Params, Shape, on_active
from ssl_ext.augment.sampling import bernoulli, check_probability


class RandomHorizontalFlip(Augmentation):
    """Mirror each image left to right with probability ``p``.

    Parameters drawn: ``active`` (N,), bool. Raises ValueError for p outside [0, 1].

    >>> RandomHorizontalFlip(p=1.0)(torch.tensor([[[[0.0, 0.5, 1.0]]]]))
    tensor([[[[1.0000, 0.5000, 0.0000]]]])
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = check_probability("RandomHorizontalFlip.p", p)

    def _sample(self, shape: Shape, generator: torch.Generator | None, device: torch.device) -> Params:
        return {"active": bernoulli(shape[0], self.p, generator, device)}

    def _transform_planes(self, planes: Tensor, params: Params) -> Tensor:
        return on_active(lambda chosen, _: chosen.flip(-1), planes, params)
