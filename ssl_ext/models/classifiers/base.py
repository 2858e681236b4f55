"""Classifier trained on one view of each image; base class of its variants."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ssl_ext.losses.cross_entropy import cross_entropy
from ssl_ext.models.selfsup.base import TrainableModel
from ssl_ext.registry import MODELS


@MODELS.register_module()
class ImageClassifier(TrainableModel):
    """Backbone and a linear head, trained with cross-entropy.

    Subclasses override ``loss``, and ``logits`` if they make several predictions; ``prediction`` names the
    one used for inference. Training uses one view of each image (config key ``views``).

    Args:
        backbone: Config of the backbone; features are its last output, averaged over positions.
        head: Config of a head that turns a tuple of features (N, C) into logits, such as ``LinearClsHead``.
        data_preprocessor: Config of the preprocessor.
        **kwargs: ``init_cfg``.

    Raises:
        ValueError: A head without ``num_classes``.
    """

    num_views = 1
    prediction = "plain"

    def __init__(
        self, *, backbone: dict, head: dict, data_preprocessor: dict | None = None, **kwargs
    ) -> None:
        preprocessor = None if data_preprocessor is None else MODELS.build(data_preprocessor)
        super().__init__(preprocessor, **kwargs)
        if "num_classes" not in head:
            raise ValueError("model.head lacks num_classes; give a head such as LinearClsHead.")
        self.num_classes: int = head["num_classes"]
        self.backbone = MODELS.build(backbone)
        self.head = MODELS.build(head)

    def forward(self, inputs: Any, data_samples: dict | None = None, mode: str = "tensor") -> Any:
        """Losses of the views (``mode='loss'``), or logits (N, K) of clean images (``mode='tensor'``).

        Raises:
            ValueError: ``mode`` is not ``'loss'`` or ``'tensor'``.
        """
        if mode == "loss":
            return self.loss(inputs, data_samples)
        if mode == "tensor":
            return self.logits(inputs)[self.prediction]
        raise ValueError(f"mode is {mode!r}; allowed are 'loss' and 'tensor'.")

    def loss(self, inputs: list[Tensor], data_samples: dict) -> dict[str, Tensor]:
        """Named losses of the views [(N, C, H, W)] and ``data_samples['labels']`` (N,)."""
        (images,) = inputs
        return dict(loss_classification=cross_entropy(self.classify(images), data_samples["labels"]))

    def logits(self, images: Tensor) -> dict[str, Tensor]:
        """All predictions (N, K) by name, for normalised images (N, C, H, W)."""
        return dict(plain=self.classify(images))

    def classify(self, images: Tensor) -> Tensor:
        """Logits (N, K) of normalised images (N, C, H, W)."""
        return self.head((self.extract_embedding(images),))

    def check_dataset(self, dataset: Any) -> None:
        """Check that every training image has one class and that the head has as many outputs.

        Raises:
            ValueError: Images without a label, several labels an image, or another number of classes.
        """
        labels = torch.as_tensor(dataset.labels)
        if labels.ndim != 1:
            raise ValueError("the images have several labels each; a classifier learns one class per image.")
        if bool((labels < 0).any()):
            missing = int((labels < 0).sum())
            raise ValueError(
                f"{missing} of {len(labels)} training images have no label; a classifier needs all "
                "(a self-supervised method, such as TriMix, needs none)."
            )
        if dataset.num_classes != self.num_classes:
            raise ValueError(
                f"the images have {dataset.num_classes} classes and model.head.num_classes is "
                f"{self.num_classes}: set model.head.num_classes={dataset.num_classes}."
            )
