"""Base of the algorithms with a predictor (BYOL, SimSiam, Cross, TriBYOL)."""

from __future__ import annotations

from torch import Tensor

from ssl_ext.registry import MODELS

from .base import SelfSupervisedModel


class PredictionModel(SelfSupervisedModel):
    """A model whose online network ends in a predictor q after backbone and neck.

    Args:
        neck: Config of the projector, with ``out_channels``.
        predictor: Config of the predictor, which maps projections (N, D) to (N, D).
        **kwargs: ``backbone``, ``head`` and ``data_preprocessor`` configs.

    Raises:
        ValueError: Input or output channels of the predictor differ from the neck's ``out_channels``.
    """

    num_views = 2
    batch_dependence = None

    def __init__(self, *, neck: dict, predictor: dict, **kwargs) -> None:
        super().__init__(neck=neck, **kwargs)
        channels = neck.get("out_channels")
        for key in ("in_channels", "out_channels"):
            if predictor.get(key) != channels:
                raise ValueError(
                    f"model.predictor.{key} is {predictor.get(key)}; it must be model.neck.out_channels, "
                    f"{channels}: the predictor's output is compared with a projection."
                )
        self.predictor = MODELS.build(predictor)

    def predict(self, projections: Tensor) -> Tensor:
        """Predictor output p = q(z), (N, D), of projections z (N, D)."""
        return self.predictor((projections,))[0]

    def online(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Projection z and prediction p = q(z), each (N, D), of images (N, C, H, W)."""
        projection = self.project(self.extract_embedding(images))
        return projection, self.predict(projection)
