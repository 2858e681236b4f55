"""TriMix (Bdair et al.): Barlow Twins, virtual embeddings and self-consistency."""

from __future__ import annotations

import torch
from mmengine.dist import broadcast
from mmengine.logging import MessageHub
from torch import Tensor

from ssl_ext.losses import self_consistency_loss, trimix_terms, virtual_embedding_terms
from ssl_ext.registry import MODELS
from ssl_ext.values import check_not_negative, check_positive

from .barlow_twins import BarlowTwinsHead
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


@MODELS.register_module()
class TriMixHead(BarlowTwinsHead):
    """L = L_BT + β · L_vrt + γ · L_con (Eq. 11 of TriMix).

    Also logs ``virtual_p_lam`` and ``virtual_p_complement``: the mean predicted probabilities of the two
    sources of a virtual image, which should approach λ and 1 − λ.

    Args:
        virtual_weight: β; 0 omits the term.
        consistency_weight: γ; 0 omits the term.
        temperature: τ of the softmax in Eq. 7.
        feature_norm: Also standardise virtual embeddings over their features (last row of Table VI).
        virtual_on: ``'z'`` (projector output) or ``'y'`` (backbone features) for L_vrt (Table VII).
        consistency_on: The same choice for L_con.
        redundancy_weight: α of Barlow Twins.
        eps: Added to variances before the square root.

    Raises:
        ValueError: A temperature that is not positive, a negative weight, or a choice other than z and y.
    """

    def __init__(
        self,
        virtual_weight: float = 1000.0,
        consistency_weight: float = 200.0,
        temperature: float = 2.0,
        feature_norm: bool = True,
        virtual_on: str = "z",
        consistency_on: str = "z",
        redundancy_weight: float = 5e-3,
        eps: float = 1e-5,
    ) -> None:
        super().__init__(redundancy_weight=redundancy_weight, eps=eps)
        for key, choice in (("virtual_on", virtual_on), ("consistency_on", consistency_on)):
            if choice not in ("y", "z"):
                raise ValueError(f"model.head.{key} is {choice!r}; allowed are 'y' and 'z'.")
        weights = dict(virtual_weight=virtual_weight, consistency_weight=consistency_weight)
        check_not_negative("model.head", **weights)
        check_positive("model.head", temperature=temperature)
        self.virtual_weight, self.consistency_weight = virtual_weight, consistency_weight
        self.temperature, self.feature_norm = temperature, feature_norm
        self.virtual_on, self.consistency_on = virtual_on, consistency_on

    @property
    def needs_virtual(self) -> bool:
        """True if a term needs virtual embeddings."""
        return self.virtual_weight > 0 or self.consistency_weight > 0

    @property
    def needs_virtual_projection(self) -> bool:
        """True if a term needs projected virtual embeddings."""
        return (self.virtual_weight > 0 and self.virtual_on == "z") or (
            self.consistency_weight > 0 and self.consistency_on == "z"
        )

    def loss(
        self,
        y1: Tensor,
        z1: Tensor,
        z2: Tensor,
        y_virtual: Tensor | None = None,
        z_virtual: Tensor | None = None,
        lam: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Weighted terms.

        Args:
            y1: Backbone features of the first view, (N, C).
            z1: Projector outputs of the first view, (N, D).
            z2: Projector outputs of the second view, (N, D).
            y_virtual: Backbone features of the mixed images; needed if :attr:`needs_virtual`.
            z_virtual: Projector outputs of the mixed images; needed if :attr:`needs_virtual_projection`.
            lam: Mixing coefficient, 0-dim; needed if :attr:`needs_virtual`.
        """
        settings = dict(feature_norm=self.feature_norm, eps=self.eps)
        both = self.virtual_weight > 0 and self.consistency_weight > 0
        if both and self.virtual_on == self.consistency_on == "z":
            # All terms on z share its standardised embeddings.
            terms = trimix_terms(z1, z2, z_virtual, lam, temperature=self.temperature, **settings)
            return dict(
                loss_invariance=terms.invariance,
                loss_redundancy=self.redundancy_weight * terms.redundancy,
                loss_virtual=self.virtual_weight * terms.virtual,
                virtual_p_lam=terms.p_lam,
                virtual_p_complement=terms.p_complement,
                loss_consistency=self.consistency_weight * terms.consistency,
            )
        losses = super().loss(z1, z2)
        pairs = dict(y=(y1, y_virtual), z=(z1, z_virtual))
        if self.virtual_weight > 0:
            virtual, losses["virtual_p_lam"], losses["virtual_p_complement"] = virtual_embedding_terms(
                *pairs[self.virtual_on], lam, temperature=self.temperature, **settings
            )
            losses["loss_virtual"] = self.virtual_weight * virtual
        if self.consistency_weight > 0:
            consistency = self_consistency_loss(*pairs[self.consistency_on], lam, **settings)
            losses["loss_consistency"] = self.consistency_weight * consistency
        return losses
