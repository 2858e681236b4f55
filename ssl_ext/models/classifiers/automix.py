"""AutoMix (Liu et al., "AutoMix: unveiling the power of mixup for stronger classifiers")."""

from __future__ import annotations

from typing import Any, ClassVar

from ssl_ext.registry import MODELS

from .amix import AMix


@MODELS.register_module()
class AutoMix(AMix):
    """AMix's pipeline with AutoMix's block and mask loss, the baseline in AMix (Table 8, first row).

    λ is an input channel, the content branch is linear, attention is computed across the pair, upsampling is
    nearest-neighbour, and the loss has no variance term.

    Args:
        **kwargs: As for :class:`AMix`.
    """

    block_defaults: ClassVar[dict[str, Any]] = dict(
        lam_encoding="concat", content="linear", attention="cross", upsampling="nearest"
    )
    head_defaults: ClassVar[dict[str, Any]] = dict(variance_weight=0.0)
