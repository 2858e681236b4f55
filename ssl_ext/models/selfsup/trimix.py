"""TriMix (Bdair et al.): Barlow Twins, virtual embeddings and self-consistency."""

from __future__ import annotations

import torch
from mmengine.dist import broadcast
from mmengine.logging import MessageHub
from torch import Tensor

from ssl_ext.registry import MODELS

from .base import SelfSupervisedModel


@MODELS.register_module()
class TriMix(SelfSupervisedModel):
    """Two views and a virtual batch, which mixes the first view with its reversed batch.

    The three batches have separate forward passes with their own batch statistics.

    Args:
        lam_per: ``'step'`` draws the mixing coefficient λ ~ U(0, 1) at every step (Algorithm 1),
            ``'epoch'`` once an epoch (text of Fig. 5). All processes use the same λ.
        **kwargs: ``backbone``, ``neck``, ``head`` and ``data_preprocessor`` configs.

    Raises:
        ValueError: Unknown ``lam_per``.
    """

    num_views = 2
    batch_dependence = "the cross-correlation is that of a batch, and images are mixed within it"

    def __init__(self, *, lam_per: str = "step", **kwargs) -> None:
        super().__init__(**kwargs)
        if lam_per not in ("step", "epoch"):
            raise ValueError(f"model.lam_per is {lam_per!r}; allowed are 'step' and 'epoch'.")
        self.lam_per = lam_per
        # Recomputed from seed and epoch, so not stored in checkpoints.
        self.register_buffer("epoch_lam", torch.zeros(()), persistent=False)

    def before_step(self, step: int, iteration: int, batch: dict | None = None) -> None:
        """With ``lam_per='epoch'``, set λ of the epoch."""
        super().before_step(step, iteration, batch)
        if self.lam_per == "epoch":
            # Seeded by seed and epoch only: equal on all processes and after a resume.
            hub = MessageHub.get_current_instance()
            seed, epoch = hub.get_info("seed", 0), hub.get_info("epoch", 0)
            generator = torch.Generator().manual_seed(int(seed) * 1_000_003 + int(epoch))
            self.epoch_lam.fill_(float(torch.rand((), generator=generator)))

    def draw_lam(self, like: Tensor) -> Tensor:
        """λ as a 0-dim float32 tensor on the device of ``like``, the same on every process."""
        if self.lam_per == "epoch":
            return self.epoch_lam
        lam = torch.rand((), device=like.device)
        broadcast(lam)
        return lam

    def mix(self, images: Tensor, lam: Tensor) -> Tensor:
        """λ·x + (1−λ)·x with its batch order reversed (Eq. 5); images (N, C, H, W)."""
        return torch.lerp(images.flip(0), images, lam.to(images.dtype))

    def loss(self, inputs: list[Tensor], data_samples: dict | None = None) -> dict[str, Tensor]:
        """Named, weighted loss terms of two views, each (N, C, H, W)."""
        view1, view2 = inputs
        y1 = self.extract_embedding(view1)
        z1, z2 = self.project(y1), self.project(self.extract_embedding(view2))
        if not self.head.needs_virtual:
            return self.head.loss(y1, z1, z2)
        lam = self.draw_lam(view1)
        y_virtual = self.extract_embedding(self.mix(view1, lam))
        z_virtual = self.project(y_virtual) if self.head.needs_virtual_projection else None
        return self.head.loss(y1, z1, z2, y_virtual, z_virtual, lam)
