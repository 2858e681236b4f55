"""Two ways of mixing inside MoCo's loss: MoCHi (of negatives) and i-Mix (of images and their labels)."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_ext.losses import i_mix_terms, mochi_terms, unit_rows
from ssl_ext.mixups import mixup
from ssl_ext.mixups.mixed import beta
from ssl_ext.models.heads import MoCoHead
from ssl_ext.registry import MODELS
from ssl_ext.values import check_at_least, check_positive

from .moco import MoCo


@MODELS.register_module()
class MoCHi(MoCo):
    """MoCHi (Kalantidis et al., 2020): MoCo with synthetic negatives, harder than those of the queue.

    They are made in the head, :class:`MoCHiHead`.
    """


@MODELS.register_module()
class IMix(MoCo):
    """i-Mix on MoCo (Lee et al., 2021): query views are mixed, and so are the labels, one class per image.

    λ ~ Beta(α, α) for each image. The keys of the batch, of all processes, are classes like the queue's
    entries, so there are N + K of them. There is no loss of plain views.

    Args:
        alpha: α > 0.
        **kwargs: As for :class:`MoCo`.

    Raises:
        ValueError: α that is not above 0.
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
        order = torch.randperm(count, device=device)
        key = unit_rows(self.key_network(view_key[order])[0])[order.argsort()]
        losses = self.head.loss(query, key, self.queues[0].snapshot(), permutation, lam)
        if self.training:
            self.queues[0].enqueue(key)
        return losses


@MODELS.register_module()
class IMixHead(MoCoHead):
    """Cross-entropy with mixed virtual labels over N + K keys (i-Mix, Lee et al., 2021).

    Logs ``positive_top1``, the share of mixtures nearest to the key of their larger part.
    """

    def loss(
        self, query: Tensor, keys: Tensor, queue: Tensor, permutation: Tensor, lam: Tensor
    ) -> dict[str, Tensor]:
        """Loss and figure for unit vectors: mixtures and keys (N, D), queue (K, D); partners and λ (N,)."""
        terms = i_mix_terms(query, keys, queue, permutation, lam, temperature=self.temperature)
        return dict(loss_mixed=terms.loss, positive_top1=terms.positive_top1)


@MODELS.register_module()
class MoCHiHead(MoCoHead):
    """InfoNCE with synthetic hard negatives (MoCHi, Kalantidis et al., 2020).

    Args:
        temperature: τ.
        num_hard: N, how many of the queue count as hard for a query.
        num_mixed: s, negatives mixed of two hard ones.
        num_with_query: s', negatives mixed of a hard one and the query.

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
        """Loss and logged figure for unit vectors: query and key (N, D), queue (K, D)."""
        terms = mochi_terms(query, key, queue, temperature=self.temperature, **self.settings)
        return dict(loss_contrastive=terms.loss, positive_top1=terms.positive_top1)
