"""Embeddings and labels of all images of a data set, without augmentation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader, default_collate

from ssl_ext.console import progress

WAITING_BYTES = 1 << 28
"""Features that may wait on a GPU for their copy to the CPU."""


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put ``model`` in evaluation mode without gradients; restore the mode of every submodule on exit."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def _whole_batch(batch: Any) -> Any:
    # A data set with `__getitems__` returns a batch, others a list of samples.
    return batch if isinstance(batch, dict) else default_collate(batch)


def batches(
    dataset: Any,
    rows: Tensor | Sequence[Tensor] | None = None,
    *,
    batch_size: int = 512,
    num_workers: int = 0,
) -> Iterator[dict[str, Tensor]]:
    """Yield batches of ``dataset`` (of its ``rows``, in that order): uint8 ``inputs`` and ``labels``.

    ``rows`` may be the rows of each batch. A data set with ``__getitems__`` returns each batch by one index
    operation; ``num_workers`` processes speed up data sets that decode images in ``__getitem__``.
    """
    if rows is None or isinstance(rows, Tensor):
        rows = (torch.arange(len(dataset)) if rows is None else rows).split(batch_size)
    return iter(
        DataLoader(
            dataset,
            batch_sampler=[part.tolist() for part in rows],
            num_workers=num_workers,
            collate_fn=_whole_batch,
        )
    )


def process_group() -> tuple[int, int]:
    """Rank and number of processes; (0, 1) without a process group."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def _gather_rows(shard: Tensor, sizes: list[int]) -> Tensor:
    """Rows of all processes in rank order, on the CPU; process r has ``sizes[r]`` rows."""
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    padded = shard.new_zeros(max(sizes), *shard.shape[1:], device=device)
    padded[: len(shard)] = shard
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded)
    return torch.cat([part[:size].cpu() for part, size in zip(parts, sizes, strict=True)])


class _OnHost:
    """Collect batches on the CPU; from a GPU many are copied at a time, as each copy is a host sync."""

    def __init__(self) -> None:
        self.done: list[Tensor] = []
        self.waiting: list[Tensor] = []
        self.room = WAITING_BYTES

    def append(self, batch: Tensor) -> None:
        if batch.is_cpu:
            self.done.append(batch)
            return
        self.waiting.append(batch)
        self.room -= batch.nbytes
        if self.room < 0:
            self._copy()

    def joined(self) -> Tensor:
        """Return all rows, on the CPU."""
        self._copy()
        return torch.cat(self.done)

    def _copy(self) -> None:
        if self.waiting:
            self.done.append(torch.cat(self.waiting).cpu())
        self.waiting, self.room = [], WAITING_BYTES


def extract_features(
    embed: Callable[[Tensor], Tensor],
    dataset: Any,
    *,
    batch_size: int = 512,
    rows: Tensor | None = None,
    model: nn.Module | None = None,
    num_workers: int = 0,
    words: str = "features",
) -> tuple[Tensor, Tensor]:
    """Embeddings (N, D) float32 and labels (N,) or (N, L) of a data set, on the CPU.

    In evaluation mode and without gradients; the training mode of every submodule is restored. In a
    process group each process embeds a contiguous part, and every process gets all rows in order.

    Args:
        embed: Map images of the data set, uint8 (B, C, H, W), to features (B, D).
        dataset: Data set with ``inputs`` and ``labels``, by ``__getitems__`` or ``__getitem__``.
        batch_size: Images per call of ``embed``.
        rows: Rows of the images, in order; default all.
        model: Module to put in evaluation mode; default ``embed`` if it is a module.
        num_workers: Processes that decode images; 0 for images in memory.
        words: Name of the progress on the console.

    Raises:
        ValueError: No rows, or the output of ``embed`` is not (B, D).
    """
    rows = torch.arange(len(dataset)) if rows is None else rows.cpu()
    if len(rows) == 0:
        raise ValueError("features of 0 images were requested: the data set, or its part, is empty")
    if model is None:
        model = embed if isinstance(embed, nn.Module) else nn.Module()
    rank, world_size = process_group()
    bounds = [len(rows) * r // world_size for r in range(world_size + 1)]
    start, stop = bounds[rank], bounds[rank + 1]
    # A process without rows embeds one row to determine the shapes for gathering.
    mine = rows[start:stop] if stop > start else rows[:1]
    features, labels = _OnHost(), _OnHost()
    with evaluation_mode(model), progress(words, len(mine), "images") as advance:
        for batch in batches(dataset, mine, batch_size=batch_size, num_workers=num_workers):
            embedding = embed(batch["inputs"])
            if embedding.ndim != 2 or len(embedding) != len(batch["inputs"]):
                raise ValueError(
                    f"embed gave {tuple(embedding.shape)} for {len(batch['inputs'])} images: "
                    "(images, D) is needed"
                )
            features.append(embedding.float())
            labels.append(batch["labels"])
            advance(len(embedding))
    all_features, all_labels = (parts.joined()[: stop - start] for parts in (features, labels))
    if world_size > 1:
        sizes = [high - low for low, high in zip(bounds, bounds[1:], strict=False)]
        all_features, all_labels = _gather_rows(all_features, sizes), _gather_rows(all_labels, sizes)
    return all_features, all_labels
