"""Head of the algorithms with a predictor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor

from ssl_ext.losses import cosine_regression
from ssl_ext.registry import MODELS


@MODELS.register_module()
class CosineRegressionHead(BaseModule):
    """weight · Σ ℓ(p, z) over the pairs of each term, ℓ(p, z) = 2 - 2 cos(p, sg z).

    The algorithm passes the pairs and the weight; the head has no settings.
    """

    def loss(self, *, weight: float = 1.0, **terms: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        """Weighted terms by names ``loss_<term>``.

        Args:
            weight: Factor of every term.
            **terms: Pairs (prediction, target) of each term, all (N, D).
        """
        return {f"loss_{name}": weight * self._sum_of_pairs(pairs) for name, pairs in terms.items()}

    def _sum_of_pairs(self, pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        # One mean over all pairs of a term, so that each term needs a single collective.
        predictions, targets = zip(*pairs, strict=True)
        return len(pairs) * cosine_regression(torch.cat(predictions), torch.cat(targets))
