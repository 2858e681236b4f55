"""Head of MoCo with mixed images."""

from __future__ import annotations

from torch import Tensor

from ssl_ext.losses import mixup_info_nce, weighted_info_nce
from ssl_ext.mixups import Mixed
from ssl_ext.registry import MODELS
from ssl_ext.values import check_not_negative

from .contrastive_heads import MoCoHead


@MODELS.register_module()
class MixMoCoHead(MoCoHead):
    """plain_weight · InfoNCE (Eq. 2 of AMix) + mixed_weight · mixture InfoNCE (Eq. 4).

    Args:
        temperature: τ of both terms.
        plain_weight: Weight of InfoNCE; 0 omits the term.
        mixed_weight: Weight of the mixture InfoNCE; 0 omits the term.

    Raises:
        ValueError: A temperature that is not positive, a negative weight, or both weights 0.
    """

    def __init__(
        self, temperature: float = 0.2, plain_weight: float = 1.0, mixed_weight: float = 1.0
    ) -> None:
        super().__init__(temperature)
        check_not_negative("model.head", plain_weight=plain_weight, mixed_weight=mixed_weight)
        if not plain_weight and not mixed_weight:
            raise ValueError("model.head.plain_weight and mixed_weight are both 0: no loss is left.")
        self.plain_weight, self.mixed_weight = plain_weight, mixed_weight

    def loss(self, query: Tensor, key: Tensor, queue: Tensor) -> dict[str, Tensor]:
        """Weighted InfoNCE and ``positive_top1`` for unit vectors: query and key (N, D), queue (K, D)."""
        losses = super().loss(query, key, queue)
        return dict(losses, loss_contrastive=self.plain_weight * losses["loss_contrastive"])

    def mixed(self, query: Tensor, keys: Tensor, queue: Tensor, mixed: Mixed) -> dict[str, Tensor]:
        """Weighted InfoNCE of mixed images.

        Args:
            query: (N, D) unit vectors of the mixed images.
            keys: (N, D) unit vectors of the plain images.
            queue: (K, D) unit vectors.
            mixed: Permutation and λ of the mixtures.
        """
        if mixed.weights is not None:
            loss = weighted_info_nce(query, keys, queue, mixed.weights, temperature=self.temperature)
        else:
            loss = mixup_info_nce(
                query, keys, keys[mixed.permutation], queue, mixed.lam, temperature=self.temperature
            )
        return dict(loss_mixed=self.mixed_weight * loss)
