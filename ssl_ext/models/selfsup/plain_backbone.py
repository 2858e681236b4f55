"""A backbone that is evaluated and not pretrained here."""

from __future__ import annotations

from torch import Tensor

from ssl_ext.registry import MODELS

from .base import SelfSupervisedModel


@MODELS.register_module()
class PlainBackbone(SelfSupervisedModel):
    """Carries weights from elsewhere, or none, through the evaluation protocols.

    Args:
        **kwargs: ``backbone`` and ``data_preprocessor`` configs.
    """

    def loss(self, inputs: list[Tensor], data_samples: dict | None = None) -> dict[str, Tensor]:
        """There is no pretext task.

        Raises:
            TypeError: Always.
        """
        raise TypeError("PlainBackbone has no pretext task and is for evaluation only (tools/evaluate.py).")
