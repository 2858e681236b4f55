"""AutoMix (Liu et al., "AutoMix: unveiling the power of mixup for stronger classifiers")."""

from __future__ import annotations

from typing import Any, ClassVar

from ssl_ext.registry import MODELS

from .amix import AMix


@MODELS.register_module()
class AutoMix(AMix):
    """AMix's pipeline with AutoMix's block and mask loss, as AMix compares with it (Table 8, first row).

    λ is a channel, the content is linear, attention goes across the pair, upsampling is nearest, and nothing
    rewards sparse masks.

    Args:
        **kwargs: As for :class:`AMix`.
    """

    block_defaults: ClassVar[dict[str, Any]] = dict(
        lam_encoding="concat", content="linear", attention="cross", upsampling="nearest"
    )
    head_defaults: ClassVar[dict[str, Any]] = dict(variance_weight=0.0)
