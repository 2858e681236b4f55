"""The pretraining loss on validation images."""

from __future__ import annotations

import torch
from mmengine.dist import all_reduce, get_rank, get_world_size
from mmengine.hooks import Hook
from torch import Tensor

from ssl_ext.evaluation import batches, evaluation_mode
from ssl_ext.registry import HOOKS

from .monitoring import bare_model, check_positive, report
from .random_state import kept_random_state

FIGURES = ("positive_top1",)


@HOOKS.register_module()
class ValidationLossHook(Hook):
    """Log ``val_loss``, the sum of the loss terms on views of validation images, every few epochs.

    If the model logs ``positive_top1``, also log ``val_positive_top1`` (Fig. 7.1 of the thesis "SimCLR for
    medical images"). Batches have the size of training batches, in evaluation mode; images and views are
    equal at every measurement, and the run's random state is not changed. Nothing is measured without a
    validation split, or for models with a memory bank of the training images.

    Args:
        interval: Epochs between two measurements; the last epoch is always measured.
        max_batches: Maximum number of batches.

    Raises:
        ValueError: ``interval`` or ``max_batches`` below 1.
    """

    priority = "NORMAL"

    def __init__(self, interval: int = 10, max_batches: int = 4) -> None:
        check_positive("ValidationLossHook", interval=interval, max_batches=max_batches)
        self.interval = interval
        self.max_batches = max_batches

    def after_train_epoch(self, runner) -> None:
        """Measure and log."""
        last = runner.epoch + 1 == runner.max_epochs
        if last or self.every_n_epochs(runner, self.interval):
            report(runner, self.measure(runner))

    @torch.no_grad()
    def measure(self, runner) -> dict[str, float]:
        """Figures on the batches of all processes; empty if nothing can be measured."""
        model, splits = bare_model(runner), runner.evaluation_splits
        if splits is None or splits.val is None or model.uses_indices:
            return {}
        size = runner.train_dataloader.batch_sampler.batch_size
        measured = []
        with kept_random_state(), evaluation_mode(model):
            torch.manual_seed(get_rank())
            for rows in self.rows(len(splits.val), size):
                (batch,) = batches(splits.val, rows, batch_size=len(rows))
                batch.pop("indices", None)  # they are rows of another split than the model's banks
                data = model.data_preprocessor(batch, True)
                logged = model.loss(data["inputs"], data["data_samples"])
                figures = {"loss": sum(value for name, value in logged.items() if name.startswith("loss"))}
                figures.update((name, logged[name]) for name in FIGURES if name in logged)
                measured.append(figures)
        if not measured:
            return {}
        means = torch.stack([torch.stack([f[name].float() for f in measured]).mean() for name in measured[0]])
        all_reduce(means, "mean")
        return {f"val_{name}": value for name, value in zip(measured[0], means.tolist(), strict=True)}

    def rows(self, count: int, size: int) -> list[Tensor]:
        """Rows of this process for each batch: full batches, or a single smaller batch."""
        rank, world = get_rank(), get_world_size()
        order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
        size = min(size, count // world)
        if size < 2:
            return []
        joined = order[: len(order) // (size * world) * size * world].split(size * world)
        return [rows[rank * size : (rank + 1) * size] for rows in joined[: self.max_batches]]
