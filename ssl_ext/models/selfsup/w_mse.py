"""W-MSE (Ermolov et al., 2021)."""

from __future__ import annotations

import torch
from mmengine.dist import broadcast
from mmengine.model import BaseModule
from torch import Tensor

from ssl_ext.losses import w_mse, world_size
from ssl_ext.registry import MODELS
from ssl_ext.values import check_at_least

from .two_views import TwoViewModel


@MODELS.register_module()
class WMSE(TwoViewModel):
    """Pull the whitened embeddings of two or more views together.

    Args:
        neck: Config of the projector, with ``out_channels`` below the head's ``whitening_size``.
        head: Config of a :class:`WMSEHead`.
        **kwargs: ``backbone`` and ``data_preprocessor`` configs.

    Raises:
        ValueError: ``whitening_size`` is not above the size of the embedding.
    """

    num_views = None
    batch_dependence = "sub-batches of a batch are whitened"

    def __init__(self, *, neck: dict, head: dict, **kwargs) -> None:
        super().__init__(neck=neck, head=head, **kwargs)
        if self.head.whitening_size <= neck.get("out_channels", 0):
            raise ValueError(
                f"model.head.whitening_size is {self.head.whitening_size}; it must be above "
                f"model.neck.out_channels, {neck['out_channels']}: a smaller covariance is singular."
            )

    def check_batch_size(self, size: int) -> None:
        """Raise ValueError unless the batch of all processes divides into sub-batches."""
        whole, part = size * world_size(), self.head.whitening_size
        if whole % part or not size:
            raise ValueError(
                f"train_dataloader.batch_size is {size} on {world_size()} process(es); together they need a "
                f"multiple of model.head.whitening_size, {part}."
            )


@MODELS.register_module()
class WMSEHead(BaseModule):
    """MSE of the views' embeddings, whitened in random sub-batches and normalised.

    Args:
        whitening_size: Images per sub-batch.
        iterations: Number of random partitions over which the loss is averaged.
        eps: Weight of the identity in the covariances, in [0, 1).

    Raises:
        ValueError: A number out of range.
    """

    def __init__(self, whitening_size: int = 128, iterations: int = 1, eps: float = 0.0) -> None:
        super().__init__()
        check_at_least("model.head", 2, whitening_size=whitening_size)
        check_at_least("model.head", 1, iterations=iterations)
        if not 0 <= eps < 1:
            raise ValueError(f"model.head.eps is {eps}; it must be at least 0 and below 1.")
        self.whitening_size, self.iterations, self.eps = whitening_size, iterations, eps

    def loss(self, *embeddings: Tensor) -> dict[str, Tensor]:
        """Loss of projector outputs of two or more views, each (N, D)."""
        count, device = len(embeddings[0]) * world_size(), embeddings[0].device
        permutations = torch.stack([torch.randperm(count, device=device) for _ in range(self.iterations)])
        broadcast(permutations)
        loss = w_mse(*embeddings, permutations=permutations, size=self.whitening_size, eps=self.eps)
        return dict(loss_whitened=loss)
