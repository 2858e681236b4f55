"""Random horizontal flip."""

from torch import Tensor

from ssl_ext.augment.base import Augmentation, Params, Shape, on_active
from ssl_ext.augment.sampling import check_probability


class RandomHorizontalFlip(Augmentation):
    """Mirror each image left to right with probability ``p``.

    Parameters drawn: ``active`` (N,), bool. Raises ValueError for p outside [0, 1].

    >>> import torch
    >>> RandomHorizontalFlip(p=1.0)(torch.tensor([[[[0.0, 0.5, 1.0]]]]))
    tensor([[[[1.0000, 0.5000, 0.0000]]]])
    """

    draws = 1

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = check_probability("RandomHorizontalFlip.p", p)

    def _params(self, numbers: Tensor, shape: Shape) -> Params:
        return {"active": numbers[0] < self.p}

    def _transform_planes(self, planes: Tensor, params: Params) -> Tensor:
        return on_active(lambda chosen, _: chosen.flip(-1), planes, params)
