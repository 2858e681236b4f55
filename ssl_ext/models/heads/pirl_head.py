"""Head of PIRL."""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import Tensor

from ssl_ext.losses import pirl_terms
from ssl_ext.registry import MODELS


@MODELS.register_module()
class PIRLHead(BaseModule):
    """L = λ · L_NCE(m_I, g(v_It)) + (1 − λ) · L_NCE(m_I, f(v_I)), against negatives from a memory bank.

    Besides the loss terms it logs ``positive_top1``: the share of transformed images whose own memory is
    more similar than all negatives.

    Args:
        temperature: τ.
        weight: λ in [0, 1].
        num_negatives: How many entries of the bank are drawn at each step, as negatives of all images of
            this process; an image's own entry among them is left out. At most the whole bank.

    Raises:
        ValueError: A number out of range.
    """

    def __init__(self, temperature: float = 0.07, weight: float = 0.5, num_negatives: int = 4096) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"model.head.temperature is {temperature}; it must be above 0.")
        if not 0 <= weight <= 1:
            raise ValueError(f"model.head.weight is {weight}; it must be between 0 and 1.")
        if not isinstance(num_negatives, int) or num_negatives < 2:
            raise ValueError(f"model.head.num_negatives is {num_negatives!r}; it must be at least 2.")
        self.temperature = temperature
        self.weight = weight
        self.num_negatives = num_negatives

    def loss(
        self, z_image: Tensor, z_transformed: Tensor, memories: Tensor, indices: Tensor
    ) -> dict[str, Tensor]:
        """Weighted terms.

        Args:
            z_image: (N, D) embeddings of the images.
            z_transformed: (N, D) embeddings of their transformed versions.
            memories: (n, D), the memory bank's entries of all images.
            indices: (N,), which of them belong to the images.
        """
        drawn = torch.randperm(len(memories), device=memories.device)[: self.num_negatives]
        transformed, image, positive_top1 = pirl_terms(
            z_image,
            z_transformed,
            memories[indices],
            memories[drawn],
            excluded=indices[:, None] == drawn,
            temperature=self.temperature,
        )
        return dict(
            loss_transformed=self.weight * transformed,
            loss_image=(1 - self.weight) * image,
            positive_top1=positive_top1,
        )
