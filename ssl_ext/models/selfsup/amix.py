"""AMix-I and AMix-C: AMix on MoCo v2, without and with pseudo labels (Sec. 3.3 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence

from ssl_ext.registry import MODELS

from .amix_moco import AMixMoCo


@MODELS.register_module()
class AMixI(AMixMoCo):
    """AMix-I: the block is trained with mixture InfoNCE and BCE; no labels are needed.

    Args:
        block_losses: As for :class:`AMixMoCo`.
        **kwargs: As for :class:`AMixMoCo`.
    """

    def __init__(self, *, block_losses: Sequence[str] = ("infonce", "bce"), **kwargs) -> None:
        super().__init__(block_losses=block_losses, **kwargs)


@MODELS.register_module()
class AMixC(AMixMoCo):
    """AMix-C: the block is trained with mixture CE on pseudo labels and BCE.

    Args:
        block_losses: As for :class:`AMixMoCo`.
        labels: As for :class:`MixedMoCo`; by default 200 clusters.
        **kwargs: As for :class:`AMixMoCo`.
    """

    def __init__(
        self, *, block_losses: Sequence[str] = ("ce", "bce"), labels: dict | None = None, **kwargs
    ) -> None:
        labels = labels or dict(source="pseudo", num_classes=200)
        super().__init__(block_losses=block_losses, labels=labels, **kwargs)
