"""PIRL (Misra and van der Maaten, 2020)."""

from __future__ import annotations

import copy

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from ssl_ext.losses import pirl_terms
from ssl_ext.models.utils import MemoryBank, running_statistics_kept
from ssl_ext.models.utils.pretext import GRID, draw_patches, rotate, shuffle_and_join
from ssl_ext.registry import MODELS
from ssl_ext.values import check_at_least, check_positive

from .memory import MemoryModel

PATCHES = GRID * GRID


@MODELS.register_module()
class PIRL(MemoryModel):
    """Pull a view and a pretext transform of it towards the image's entry of a memory bank.

    The transformed image has its own projector with the sizes of the neck: ``'rotation'`` (0 to 3 quarter
    turns) projects the rotated image; ``'jigsaw'`` projects nine patches, concatenates them in random order
    and maps them to an embedding by a linear layer. After the loss the bank is updated with the embeddings of
    the images, not of the transformed images.

    Args:
        pretext: ``'jigsaw'`` or ``'rotation'``.
        neck: As for :class:`MemoryModel`.
        bank_momentum: As for :class:`MemoryModel`.
        **kwargs: As for :class:`MemoryModel`.

    Raises:
        ValueError: Unknown ``pretext``, or as for :class:`MemoryModel`.
    """

    batch_dependence = (
        "each batch draws its own negatives, from a memory bank that the batch before has changed"
    )

    def __init__(self, *, pretext: str, neck: dict, bank_momentum: float = 0.5, **kwargs) -> None:
        if pretext not in ("jigsaw", "rotation"):
            raise ValueError(f"model.pretext is {pretext!r}; allowed are 'jigsaw' and 'rotation'.")
        super().__init__(neck=copy.deepcopy(neck), bank_momentum=bank_momentum, **kwargs)
        self.pretext = pretext
        self.transform_neck = MODELS.build(copy.deepcopy(neck))
        if pretext == "jigsaw":
            self.join_patches = nn.Linear(PATCHES * self.dim, self.dim)
        self.bank: MemoryBank | None = None

    @property
    def memory(self) -> MemoryBank | None:
        """The bank; None before :meth:`set_dataset_size`."""
        return self.bank

    def set_dataset_size(self, size: int) -> None:
        """Create a memory bank for ``size`` images."""
        device = next(self.parameters()).device
        self.bank = MemoryBank(size, self.dim, momentum=self.bank_momentum).to(device)

    def embed_transformed(self, images: Tensor) -> Tensor:
        """Embeddings (N, D) of randomly transformed images (N, C, H, W)."""
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
        (images,), indices = inputs, self.indices_of(data_samples)
        z_image = self.project(self.extract_embedding(images))
        # Patches have other statistics than images; keep them out of the running statistics, which are
        # used to evaluate images.
        with running_statistics_kept(self.backbone):
            z_transformed = self.embed_transformed(images)
        losses = self.head.loss(z_image, z_transformed, self.bank.features, indices)
        if self.training:
            self.bank.update(indices, z_image)
        return losses


@MODELS.register_module()
class PIRLHead(BaseModule):
    """L = λ · L_NCE(m_I, g(v_It)) + (1 − λ) · L_NCE(m_I, f(v_I)), against negatives from a memory bank.

    Also logs ``positive_top1``: the fraction of transformed images whose own memory is more similar than all
    negatives.

    Args:
        temperature: τ.
        weight: λ in [0, 1].
        num_negatives: Number of bank entries drawn per step and process as negatives of all its images; an
            image's own entry is excluded. At most the size of the bank.

    Raises:
        ValueError: A number out of range.
    """

    def __init__(self, temperature: float = 0.07, weight: float = 0.5, num_negatives: int = 4096) -> None:
        super().__init__()
        check_positive("model.head", temperature=temperature)
        if not 0 <= weight <= 1:
            raise ValueError(f"model.head.weight is {weight}; it must be between 0 and 1.")
        check_at_least("model.head", 2, num_negatives=num_negatives)
        self.temperature = temperature
        self.weight = weight
        self.num_negatives = num_negatives

    def loss(
        self, z_image: Tensor, z_transformed: Tensor, memories: Tensor, indices: Tensor
    ) -> dict[str, Tensor]:
        """Weighted terms.

        Args:
            z_image: (N, D) embeddings of the images.
            z_transformed: (N, D) embeddings of their transformed versions.
            memories: (n, D), the memory bank's entries of all images.
            indices: (N,), rows of ``memories`` that belong to the images.
        """
        drawn = torch.randperm(len(memories), device=memories.device)[: self.num_negatives]
        transformed, image, positive_top1 = pirl_terms(
            z_image,
            z_transformed,
            memories[indices],
            memories[drawn],
            excluded=indices[:, None] == drawn,
            temperature=self.temperature,
        )
        return dict(
            loss_transformed=self.weight * transformed,
            loss_image=(1 - self.weight) * image,
            positive_top1=positive_top1,
        )
