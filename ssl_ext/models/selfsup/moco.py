"""MoCo (He et al., 2020), and its form with two projectors (Jiang et al., "Beyond linear metric")."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ssl_ext.losses import unit_rows
from ssl_ext.models.utils import MomentumNetwork, Queue
from ssl_ext.registry import MODELS

from .base import EMAModel, SelfSupervisedModel


@MODELS.register_module()
class MoCo(EMAModel, SelfSupervisedModel):
    """Queries of the network, keys of its momentum copy, negatives from a queue of earlier keys.

    MoCo v2 is this class with a non-linear neck and its views. Keys enter the queue in training mode only,
    after they were compared, and any batch size fits (MMPretrain's class of this name wants a divisor of
    the queue's length).

    Whatever a query and its key share and the queue does not have gives the key away, and the statistics of
    batch normalisation are that: both come from the same images, those in the queue from other batches. So
    the key batch is shuffled, and ``norm_cfg=dict(type="SplitBN")`` in backbone and neck normalises parts of
    a batch, which are then other parts for a query than for its key. (The paper shuffles between processes
    to the same end; synchronised statistics would undo it, and ``SplitBN`` is never converted to them.)

    Args:
        queue_size: K, how many earlier keys are the negatives.
        momentum: EMA momentum of the key network, in [0, 1].
        **kwargs: ``momentum_schedule``, ``backbone``, ``neck``, ``head`` and ``data_preprocessor``.

    Raises:
        ValueError: A queue below 1, a momentum out of range.
    """

    num_views = 2
    num_queues = 1
    batch_dependence = "the keys of each batch enter the queue before the next batch is compared"

    def __init__(self, *, queue_size: int = 65536, momentum: float = 0.999, **kwargs) -> None:
        neck = kwargs["neck"]
        super().__init__(momentum=momentum, **kwargs)
        self.key_network = MomentumNetwork(self.backbone, self.neck)
        self.queues = nn.ModuleList(
            Queue(queue_size, neck.get("out_channels")) for _ in range(self.num_queues)
        )

    def loss(self, inputs: list[Tensor], data_samples: dict | None = None) -> dict[str, Tensor]:
        """Named, weighted loss terms of a query view and a key view, each (N, C, H, W)."""
        view_query, view_key = inputs
        queries = [unit_rows(z) for z in self.neck((self.extract_embedding(view_query),))]
        order = torch.randperm(len(view_key), device=view_key.device)
        # Sorting an order gives its inverse, which puts the keys back beside their queries.
        keys = [unit_rows(z)[order.argsort()] for z in self.key_network(view_key[order])]
        losses = self.compare(queries, keys, [queue.snapshot() for queue in self.queues])
        if self.training:
            for queue, key in zip(self.queues, keys, strict=True):
                queue.enqueue(key)
        return losses

    def compare(
        self, queries: Sequence[Tensor], keys: Sequence[Tensor], queues: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        """What the head makes of unit vectors, one tensor per projector."""
        return self.head.loss(queries[0], keys[0], queues[0])


@MODELS.register_module()
class JaccardMoCo(MoCo):
    """MoCo with the neck :class:`BiProjector`: two queues, one per projector, written together.

    Args:
        queue_size: K of both queues.
        momentum: EMA momentum of backbone and both projectors, in [0, 1].
        **kwargs: As for :class:`MoCo`.
    """

    num_queues = 2

    def __init__(self, *, queue_size: int = 4096, momentum: float = 0.99, **kwargs) -> None:
        super().__init__(queue_size=queue_size, momentum=momentum, **kwargs)

    def compare(
        self, queries: Sequence[Tensor], keys: Sequence[Tensor], queues: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        """What the head makes of the unit vectors of both projectors."""
        return self.head.loss(queries, keys, queues)
