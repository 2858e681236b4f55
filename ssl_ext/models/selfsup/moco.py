"""MoCo (He et al., 2020), and its form with two projectors (Jiang et al., "Beyond linear metric")."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ssl_ext.losses import unit_rows
from ssl_ext.models.utils import MomentumNetwork, Queue, shuffled
from ssl_ext.registry import MODELS

from .base import EMAModel, SelfSupervisedModel


@MODELS.register_module()
class MoCo(EMAModel, SelfSupervisedModel):
    """Queries of the online network, keys of its EMA copy, negatives from a queue of earlier keys.

    MoCo v2 is this class with a non-linear neck and other augmentations. Keys are enqueued in training mode
    only, after the loss; any batch size is allowed (MMPretrain's class of this name needs a divisor of the
    queue's length).

    Batch statistics leak which key belongs to a query: both are normalised over the same images, the queue's
    keys over other batches. Therefore keys are computed in random order, across processes as in the paper,
    and ``norm_cfg=dict(type="SplitBN")`` in backbone and neck normalises over parts of a process's images, so
    that a query and its key fall into different parts. (Synchronised statistics would undo it, so ``SplitBN``
    is never converted to them.)

    Args:
        queue_size: K, number of negatives.
        momentum: EMA momentum of the key network, in [0, 1].
        **kwargs: ``momentum_schedule``, ``backbone``, ``neck``, ``head`` and ``data_preprocessor``.

    Raises:
        ValueError: ``queue_size`` below 1 or a momentum out of range.
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
        keys = [unit_rows(z) for z in shuffled(self.key_network, view_key)]
        losses = self.compare(queries, keys, [queue.snapshot() for queue in self.queues])
        if self.training:
            for queue, key in zip(self.queues, keys, strict=True):
                queue.enqueue(key)
        return losses

    def compare(
        self, queries: Sequence[Tensor], keys: Sequence[Tensor], queues: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        """Losses of unit vectors: queries and keys (N, D), queues (K, D), one tensor per projector."""
        return self.head.loss(queries[0], keys[0], queues[0])


@MODELS.register_module()
class JaccardMoCo(MoCo):
    """MoCo with the neck :class:`BiProjector` and one queue per projector.

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
        """Losses of the unit vectors of both projectors."""
        return self.head.loss(queries, keys, queues)
