"""Heads of the contrastive methods."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor

from ssl_ext.losses import info_nce_terms, jaccard_contrastive_terms, jaccard_weights, nt_xent_terms
from ssl_ext.losses.jaccard import check_jaccard
from ssl_ext.registry import MODELS
from ssl_ext.values import check_positive


@MODELS.register_module()
class SimCLRHead(BaseModule):
    """NT-Xent of SimCLR; logs ``positive_top1``, the fraction of views nearest to their positive.

    Args:
        temperature: τ.

    Raises:
        ValueError: A temperature that is not positive.
    """

    def __init__(self, temperature: float = 0.5) -> None:
        super().__init__()
        check_positive("model.head", temperature=temperature)
        self.temperature = temperature

    def loss(self, z1: Tensor, z2: Tensor) -> dict[str, Tensor]:
        """Loss and ``positive_top1`` for projector outputs of two views, each (N, D)."""
        terms = nt_xent_terms(z1, z2, temperature=self.temperature)
        return dict(loss_contrastive=terms.loss, positive_top1=terms.positive_top1)


@MODELS.register_module()
class MoCoHead(SimCLRHead):
    """InfoNCE of MoCo; logs ``positive_top1``, the fraction of queries nearest to their own key.

    Args:
        temperature: τ.

    Raises:
        ValueError: A temperature that is not positive.
    """

    def __init__(self, temperature: float = 0.2) -> None:
        super().__init__(temperature)

    def loss(self, query: Tensor, key: Tensor, queue: Tensor) -> dict[str, Tensor]:
        """Loss and ``positive_top1`` for unit vectors: query and key (N, D), queue (K, D)."""
        terms = info_nce_terms(query, key, queue, temperature=self.temperature)
        return dict(loss_contrastive=terms.loss, positive_top1=terms.positive_top1)


@MODELS.register_module()
class JaccardHead(SimCLRHead):
    """α1 · NCE(s1) + α2 · NCE(s2) + (1 − α1 − α2) · NCE(J) (Eq. 4 of Jiang et al.).

    Works within a batch (as SimCLR) and with queues (as MoCo). Logs ``positive_top1`` of the Jaccard
    similarity J.

    Args:
        alpha: α1 and α2, the weights of the terms of the two projectors.
        temperature: τ of all three terms.
        intersection: ``'guarded'``, ``'raw'``, ``'clamp'`` or ``'affine'``, see
            :func:`ssl_ext.losses.jaccard_similarity`.
        eps: Smallest denominator of J (``'guarded'``), or added to it.

    Raises:
        ValueError: A setting out of range.
    """

    def __init__(
        self,
        alpha: Sequence[float] = (1 / 3, 1 / 3),
        temperature: float = 0.5,
        intersection: str = "guarded",
        eps: float = 0.05,
    ) -> None:
        super().__init__(temperature)
        check_jaccard(intersection, eps)
        self.weights = jaccard_weights(alpha)
        self.intersection = intersection
        self.eps = eps

    def loss(
        self, query: Sequence[Tensor], key: Sequence[Tensor], queue: Sequence[Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Weighted terms and ``positive_top1``.

        Args:
            query: The two embeddings (N, D) of the first view.
            key: The two embeddings (N, D) of the second view.
            queue: Unit vectors (K, D) for each projector; None takes negatives from the batch.
        """
        terms = jaccard_contrastive_terms(
            query,
            key,
            queue,
            temperature=self.temperature,
            intersection=self.intersection,
            eps=self.eps,
        )
        return dict(
            loss_projector1=self.weights[0] * terms.projector1,
            loss_projector2=self.weights[1] * terms.projector2,
            loss_jaccard=self.weights[2] * terms.jaccard,
            positive_top1=terms.positive_top1,
        )
