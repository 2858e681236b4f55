"""Two ways of mixing inside MoCo's loss: MoCHi (of negatives) and i-Mix (of images and their labels)."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_ext.losses import unit_rows
from ssl_ext.mixups import mixup
from ssl_ext.registry import MODELS

from .moco import MoCo


@MODELS.register_module()
class MoCHi(MoCo):
    """MoCHi (Kalantidis et al., 2020): MoCo with synthetic negatives, harder than those of the queue.

    They are made in the head, :class:`ssl_ext.models.heads.MoCHiHead`.
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
        if not alpha > 0:
            raise ValueError(f"model.alpha is {alpha}; it must be above 0.")
        super().__init__(**kwargs)
        self.alpha = float(alpha)

    def loss(self, inputs: list[Tensor], data_samples: dict | None = None) -> dict[str, Tensor]:
        """Named loss of a query view and a key view, each (N, C, H, W)."""
        view_query, view_key = inputs
        count, device = len(view_query), view_query.device
        permutation = torch.randperm(count, device=device)
        concentration = torch.full((count,), self.alpha, device=device)
        # Checking the arguments would wait for the device.
        lam = torch.distributions.Beta(concentration, concentration, validate_args=False).sample()
        mixtures, _ = mixup(view_query, lam, permutation)
        query = unit_rows(self.project(self.extract_embedding(mixtures)))
        order = torch.randperm(count, device=device)
        key = unit_rows(self.key_network(view_key[order])[0])[order.argsort()]
        losses = self.head.loss(query, key, self.queues[0].snapshot(), permutation, lam)
        if self.training:
            self.queues[0].enqueue(key)
        return losses
