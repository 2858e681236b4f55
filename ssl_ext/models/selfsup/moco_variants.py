"""MoCo with mixed negatives (MoCHi), and with mixed images and virtual labels (i-Mix)."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_ext.losses import i_mix_terms, mochi_terms, unit_rows
from ssl_ext.mixups import mixup
from ssl_ext.mixups.mixed import beta
from ssl_ext.models.heads import MoCoHead
from ssl_ext.models.utils import shuffled
from ssl_ext.registry import MODELS
from ssl_ext.values import check_at_least, check_positive

from .moco import MoCo


@MODELS.register_module()
class MoCHi(MoCo):
    """MoCHi (Kalantidis et al., 2020): MoCo with synthetic negatives, harder than those of the queue.

    :class:`MoCHiHead` makes them.
    """


@MODELS.register_module()
class IMix(MoCo):
    """i-Mix on MoCo (Lee et al., 2021): query views and virtual labels (one class per image) are mixed.

    λ ~ Beta(α, α) per image. The classes are the batch's keys from all processes and the queue's entries.
    There is no loss of plain views.

    Args:
        alpha: α > 0.
        **kwargs: As for :class:`MoCo`.

    Raises:
        ValueError: α is not above 0.
    """

    batch_dependence = "images are mixed within a batch and compared with all its keys"

    def __init__(self, *, alpha: float = 1.0, **kwargs) -> None:
        check_positive("model", alpha=alpha)
        super().__init__(**kwargs)
        self.alpha = float(alpha)

    def loss(self, inputs: list[Tensor], data_samples: dict | None = None) -> dict[str, Tensor]:
        """Named loss of a query view and a key view, each (N, C, H, W)."""
        view_query, view_key = inputs
        count, device = len(view_query), view_query.device
        permutation = torch.randperm(count, device=device)
        lam = beta(self.alpha, count, device)
        mixtures, _ = mixup(view_query, lam, permutation)
        query = unit_rows(self.project(self.extract_embedding(mixtures)))
        key = unit_rows(shuffled(self.key_network, view_key)[0])
        losses = self.head.loss(query, key, self.queues[0].snapshot(), permutation, lam)
        if self.training:
            self.queues[0].enqueue(key)
        return losses


@MODELS.register_module()
class IMixHead(MoCoHead):
    """Cross-entropy with mixed virtual labels over N + K keys (i-Mix, Lee et al., 2021).

    Logs ``positive_top1``, the fraction of mixtures nearest to the key of their larger source.
    """

    def loss(
        self, query: Tensor, keys: Tensor, queue: Tensor, permutation: Tensor, lam: Tensor
    ) -> dict[str, Tensor]:
        """Loss and ``positive_top1``: unit vectors query, keys (N, D), queue (K, D); permutation, λ (N,)."""
        terms = i_mix_terms(query, keys, queue, permutation, lam, temperature=self.temperature)
        return dict(loss_mixed=terms.loss, positive_top1=terms.positive_top1)


@MODELS.register_module()
class MoCHiHead(MoCoHead):
    """InfoNCE with synthetic hard negatives (MoCHi, Kalantidis et al., 2020).

    Args:
        temperature: τ.
        num_hard: N, number of the queue's entries most similar to a query that are used as hard negatives.
        num_mixed: s, number of negatives mixed from two hard negatives.
        num_with_query: s', number of negatives mixed from a hard negative and the query.

    Raises:
        ValueError: A setting out of range.
    """

    def __init__(
        self,
        temperature: float = 0.2,
        num_hard: int = 1024,
        num_mixed: int = 1024,
        num_with_query: int = 128,
    ) -> None:
        super().__init__(temperature)
        check_at_least("model.head", 0, num_mixed=num_mixed, num_with_query=num_with_query)
        check_at_least("model.head", 1, num_hard=num_hard)
        self.settings = dict(num_hard=num_hard, num_mixed=num_mixed, num_with_query=num_with_query)

    def loss(self, query: Tensor, key: Tensor, queue: Tensor) -> dict[str, Tensor]:
        """Loss and ``positive_top1`` for unit vectors: query and key (N, D), queue (K, D)."""
        terms = mochi_terms(query, key, queue, temperature=self.temperature, **self.settings)
        return dict(loss_contrastive=terms.loss, positive_top1=terms.positive_top1)
