"""Heads of two methods that mix inside MoCo's loss."""

from __future__ import annotations

from torch import Tensor

from ssl_ext.losses import i_mix_terms, mochi_terms
from ssl_ext.registry import MODELS

from .contrastive_heads import MoCoHead
from .mix_moco_head import check_not_negative


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
        check_not_negative(num_mixed=num_mixed, num_with_query=num_with_query)
        if num_hard < 1:
            raise ValueError(f"model.head.num_hard is {num_hard}; it must be at least 1.")
        self.settings = dict(num_hard=num_hard, num_mixed=num_mixed, num_with_query=num_with_query)

    def loss(self, query: Tensor, key: Tensor, queue: Tensor) -> dict[str, Tensor]:
        """Loss and logged figure for unit vectors: query and key (N, D), queue (K, D)."""
        terms = mochi_terms(query, key, queue, temperature=self.temperature, **self.settings)
        return dict(loss_contrastive=terms.loss, positive_top1=terms.positive_top1)
