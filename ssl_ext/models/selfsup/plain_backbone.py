"""A backbone for evaluation only."""

from __future__ import annotations

from torch import Tensor

from ssl_ext.registry import MODELS

from .base import SelfSupervisedModel


@MODELS.register_module()
class PlainBackbone(SelfSupervisedModel):
    """Evaluate external or random weights with the evaluation protocols.

    Args:
        **kwargs: ``backbone`` and ``data_preprocessor`` configs.
    """

    def loss(self, inputs: list[Tensor], data_samples: dict | None = None) -> dict[str, Tensor]:
        """Raise: there is no pretext task.

        Raises:
            TypeError: Always.
        """
        raise TypeError("PlainBackbone has no pretext task and is for evaluation only (tools/evaluate.py).")
