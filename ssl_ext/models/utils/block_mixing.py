"""Mixing with a learned block (AMix, Sec. 3)."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping

import torch
from torch import Tensor

from ssl_ext.mixups import MixBlock, Mixed, adjust_mask, mixup
from ssl_ext.mixups.mask import per_sample
from ssl_ext.mixups.mixed import beta
from ssl_ext.values import check_positive

LAM_PER = ("sample", "step")
COMPARED = "compared with MixUp"
COMPARED_EVERY = 10  # iterations, as many as between two lines of the log


class BlockMixing:
    """Mixin for models: draw λ and a permutation, and mix with a :class:`MixBlock`.

    The buffer ``mask_scale`` is the factor of the mask loss; it is stored in checkpoints.
    """

    mask_scale: Tensor

    def set_up_mixing(
        self,
        mix_block: dict,
        *,
        alpha: float,
        lam_per: str,
        adjust_lam: bool,
        mask_decay: bool,
        constant_mask: bool,
    ) -> None:
        """Build the block and store the settings; call it after ``nn.Module.__init__``.

        Args:
            mix_block: Arguments of :class:`ssl_ext.mixups.MixBlock`.
            alpha: α of λ ~ Beta(α, α).
            lam_per: Draw λ per ``'sample'`` or per ``'step'``.
            adjust_lam: Rescale the masks of the network's mixtures to a mean of exactly λ.
            mask_decay: Decay ``mask_scale`` from 1 to 0 by a cosine over the run.
            constant_mask: Replace every mask by the constant λ (the control of a learned mask). The block
                still runs, so that draws, parameters and time are the same, but gets no gradient.

        Raises:
            ValueError: α not above 0, or an unknown option.
        """
        check_positive("model", alpha=alpha)
        if lam_per not in LAM_PER:
            raise ValueError(f"model.lam_per is {lam_per!r}; allowed are {', '.join(LAM_PER)}.")
        self.mix_block = MixBlock(**mix_block)
        self.alpha, self.lam_per = float(alpha), lam_per
        self.adjust_lam, self.mask_decay, self.constant_mask = adjust_lam, mask_decay, constant_mask
        self.register_buffer("mask_scale", torch.ones(()))

    def block_features(self, images: Tensor) -> Tensor:
        """Feature maps (N, C, h, w) of images (N, channels, H, W) for the block."""
        raise NotImplementedError

    def draw(self, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Draw λ (N,) ~ Beta(α, α) and a permutation (N,) for N = ``count`` images of this process."""
        lam = beta(self.alpha, count if self.lam_per == "sample" else 1, device)
        return lam.expand(count), torch.randperm(count, device=device)

    def mix(self, images: Tensor, features: Tensor, *, adjust: bool = False) -> tuple[Mixed, Tensor]:
        """Draw λ and a permutation; return mixtures of the images and their masks (N, 1, H, W)."""
        lam, permutation = self.draw(len(images), images.device)
        mask = self.predict_masks(features, features[permutation], lam, images.shape[2:], adjust=adjust)
        return Mixed(torch.lerp(images[permutation], images, mask.to(images.dtype)), lam, permutation), mask

    def masks(self, images: Tensor, partners: Tensor, lam: Tensor | float) -> Tensor:
        """Masks (N, 1, H, W) for mixing images with partners, each (N, C, H, W), at a given λ."""
        features = [self.block_features(x) for x in (images, partners)]
        return self.predict_masks(*features, lam, images.shape[2:], adjust=self.adjust_lam)

    def predict_masks(
        self,
        features_i: Tensor,
        features_j: Tensor,
        lam: Tensor | float,
        size: tuple[int, int],
        *,
        adjust: bool,
    ) -> Tensor:
        """Masks (N, 1, H, W) of the block, adjusted to a mean of λ or replaced by λ if asked for."""
        mask = self.mix_block(features_i, features_j, lam, size)
        if self.constant_mask:
            return 0 * mask + per_sample(lam, mask)
        return adjust_mask(mask, lam) if adjust else mask

    def step_variant(self, step: int, iteration: int) -> Hashable:
        """``COMPARED`` in every tenth iteration, else None."""
        return COMPARED if iteration % COMPARED_EVERY == 0 else None

    @torch.no_grad()
    def embed_mixup(self, images: Tensor, mixed: Mixed, embed: Callable[[Tensor], Tensor]) -> Tensor | None:
        """Embeddings of MixUp's mixtures with the λ and the pairs of ``mixed``; None if not ``COMPARED``."""
        if self.variant != COMPARED:
            return None
        return embed(mixup(images, mixed.lam, mixed.permutation)[0])

    def block_figures(self) -> dict[str, Tensor]:
        """γ of the block's λ encoding, for the log; empty without one."""
        gamma = self.mix_block.gamma
        return {} if gamma is None else dict(gamma=gamma.detach().clone())

    def step_numbers(self, step: int, max_steps: int) -> dict[str, float]:
        """Add the factor of the mask loss after the step, if it decays."""
        numbers = super().step_numbers(step, max_steps)
        if self.mask_decay:
            numbers["mask_scale"] = (1 + math.cos(math.pi * step / max_steps)) / 2
        return numbers

    def after_update(self, numbers: Mapping[str, Tensor]) -> None:
        """Set the factor of the mask loss."""
        super().after_update(numbers)
        if self.mask_decay:
            self.mask_scale.copy_(numbers["mask_scale"])
