"""PIRL (Misra and van der Maaten, 2020)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from ssl_ext.models.utils import MemoryBank, running_statistics_kept
from ssl_ext.models.utils.pretext import GRID, draw_patches, rotate, shuffle_and_join
from ssl_ext.registry import MODELS

from .base import SelfSupervisedModel

PATCHES = GRID * GRID


@MODELS.register_module()
class PIRL(SelfSupervisedModel):
    """One view and a pretext transform of it, both drawn to the image's entry of a memory bank.

    The transformed image has a projector of its own with the sizes of the neck: ``'rotation'`` (0 to 3
    quarter turns) projects the rotated image; ``'jigsaw'`` projects each of nine patches, joins them in
    random order and maps them to an embedding by a linear layer.

    The bank has one entry per image: call :meth:`set_dataset_size` before training and before a state
    is loaded. It takes up the new embeddings of the images (not of the transformed ones) after the loss.

    Args:
        pretext: ``'jigsaw'`` or ``'rotation'``.
        bank_momentum: m of the bank's moving averages, at least 0 and below 1.
        **kwargs: ``backbone``, ``neck`` (a config with ``out_channels``), ``head`` and
            ``data_preprocessor`` configs.

    Raises:
        ValueError: Unknown ``pretext``, a neck without ``out_channels``, a momentum out of range.
    """

    num_views = 1
    uses_indices = True
    batch_dependence = (
        "each batch draws its own negatives, from a memory bank that the batch before has changed"
    )

    def __init__(self, *, pretext: str, neck: dict, bank_momentum: float = 0.5, **kwargs) -> None:
        if pretext not in ("jigsaw", "rotation"):
            raise ValueError(f"model.pretext is {pretext!r}; allowed are 'jigsaw' and 'rotation'.")
        if not 0 <= bank_momentum < 1:
            raise ValueError(f"model.bank_momentum is {bank_momentum}; it must be at least 0 and below 1.")
        if "out_channels" not in neck:
            raise ValueError("model.neck has no out_channels, the size of the embeddings.")
        super().__init__(neck=copy.deepcopy(neck), **kwargs)
        self.pretext = pretext
        self.bank_momentum = bank_momentum
        self.dim = neck["out_channels"]
        self.transform_neck = MODELS.build(copy.deepcopy(neck))
        if pretext == "jigsaw":
            self.join_patches = nn.Linear(PATCHES * self.dim, self.dim)
        self.bank: MemoryBank | None = None

    def set_dataset_size(self, size: int) -> None:
        """Start a memory bank for ``size`` images."""
        device = next(self.parameters()).device
        self.bank = MemoryBank(size, self.dim, momentum=self.bank_momentum).to(device)

    def check_batch(self, batch: dict) -> None:
        """Raise IndexError for an image that has no entry in the bank."""
        if self.bank is not None and "indices" in batch:
            self.bank.check(batch["indices"])

    def embed_transformed(self, images: Tensor) -> Tensor:
        """Transform images (N, C, H, W) at random; their embeddings (N, D)."""
        if self.pretext == "rotation":
            turns = torch.randint(4, (len(images),), device=images.device)
            return self.transform_neck((self.extract_embedding(rotate(images, turns)),))[0]
        patches = self.transform_neck((self.extract_embedding(draw_patches(images)),))[0]
        order = torch.rand(len(images), PATCHES, device=images.device).argsort(1)
        return self.join_patches(shuffle_and_join(patches, order))

    def loss(self, inputs: list[Tensor], data_samples: dict | None = None) -> dict[str, Tensor]:
        """Named, weighted loss terms of one view (N, C, H, W) and ``data_samples['indices']`` (N,).

        Raises:
            RuntimeError: There is no memory bank yet.
            ValueError: The batch has no indices.
        """
        if self.bank is None:
            raise RuntimeError("PIRL has no memory bank: call set_dataset_size(number of images) first.")
        if not data_samples or data_samples.get("indices") is None:
            raise ValueError(
                "PIRL needs data_samples['indices'], the row of each image in the data set: "
                "train_dataloader.dataset must give 'indices'."
            )
        (images,), indices = inputs, data_samples["indices"]
        z_image = self.project(self.extract_embedding(images))
        # The backbone is evaluated on images: patches, with statistics far from theirs, must not enter
        # its running ones.
        with running_statistics_kept(self.backbone):
            z_transformed = self.embed_transformed(images)
        losses = self.head.loss(z_image, z_transformed, self.bank.features, indices)
        if self.training:
            self.bank.update(indices, z_image)
        return losses
