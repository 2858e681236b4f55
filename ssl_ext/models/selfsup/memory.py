"""Base of the algorithms with a memory bank."""

from __future__ import annotations

from torch import Tensor

from ssl_ext.models.utils import MemoryBank

from .base import SelfSupervisedModel


class MemoryModel(SelfSupervisedModel):
    """One view of each image; its embedding is compared with entries of a memory bank.

    The bank has one entry per training image: call :meth:`set_dataset_size` before training and before a
    state dict is loaded.

    Args:
        neck: Config with ``out_channels``, the size of the embeddings.
        bank_momentum: m of the bank's moving averages, at least 0 and below 1.
        **kwargs: ``backbone``, ``head`` and ``data_preprocessor`` configs.

    Raises:
        ValueError: A neck without ``out_channels``, or a momentum out of range.
    """

    num_views = 1
    uses_indices = True

    def __init__(self, *, neck: dict, bank_momentum: float = 0.5, **kwargs) -> None:
        if "out_channels" not in neck:
            raise ValueError("model.neck has no out_channels, the size of the embeddings.")
        if not 0 <= bank_momentum < 1:
            raise ValueError(f"model.bank_momentum is {bank_momentum}; it must be at least 0 and below 1.")
        self.dim = neck["out_channels"]
        super().__init__(neck=neck, **kwargs)
        self.bank_momentum = bank_momentum

    @property
    def memory(self) -> MemoryBank | None:
        """The bank; None before :meth:`set_dataset_size`."""
        raise NotImplementedError

    def check_batch(self, batch: dict) -> None:
        """Raise IndexError for an image index outside the bank."""
        if self.memory is not None and "indices" in batch:
            self.memory.check(batch["indices"])

    def indices_of(self, data_samples: dict | None) -> Tensor:
        """Rows (N,) of the batch's images in the data set.

        Raises:
            RuntimeError: There is no bank yet.
            ValueError: The batch has no indices.
        """
        name = type(self).__name__
        if self.memory is None:
            raise RuntimeError(f"{name} has no memory bank: call set_dataset_size(number of images) first.")
        if not data_samples or data_samples.get("indices") is None:
            raise ValueError(
                f"{name} needs data_samples['indices'], the row of each image in the data set: "
                "train_dataloader.dataset must give 'indices'."
            )
        return data_samples["indices"]
