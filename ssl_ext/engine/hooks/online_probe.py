"""A linear probe trained on detached features during pretraining."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from torch import Tensor, nn

from ssl_ext.capture import fuse_adam
from ssl_ext.evaluation import hold_out, labelled_rows
from ssl_ext.models.utils import pool_features
from ssl_ext.registry import HOOKS

from .monitoring import bare_model, line_due
from .step_hook import StepHook

KEY = "online_probe"


@HOOKS.register_module()
class OnlineProbeHook(StepHook):
    """Train a softmax layer on the backbone features of every training batch.

    The features are detached outputs of the first forward pass of a step (first view, augmented, training
    mode), so no extra pass is needed and labels do not affect pretraining. The layer is initialised to zero
    and trained by Adam on the gradient of the batch of all processes. ``probe_cross_entropy`` and
    ``probe_top1`` on the training batches since the last log line are logged with the losses;
    :class:`FeatureMonitorHook` adds those on validation images.

    Negative labels are ignored. Without a validation split, the training rows that the monitor holds out are
    excluded. A data set without labels, or with several labels per image, gets no probe. Layer and optimiser
    are stored in checkpoints.

    Args:
        lr: Learning rate of Adam.

    Raises:
        ValueError: ``lr`` is not above 0.
    """

    # Within the time that IterTimerHook (50) measures, and before LoggerHook (60) writes.
    priority = "ABOVE_NORMAL"

    def __init__(self, lr: float = 5e-3) -> None:
        if lr <= 0:
            raise ValueError(f"OnlineProbeHook.lr is {lr!r}; it must be above 0.")
        self.lr = lr
        self.layer: nn.Linear | None = None
        self.held_out: Tensor | None = None
        self.saved: dict[str, Any] | None = None
        self.features: Tensor | None = None
        self.rows = 0  # size of the batch whose features are wanted; 0: none

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Read layer and optimiser from a checkpoint to resume."""
        if runner._resume:
            self.saved = checkpoint.get(KEY)

    def before_train(self, runner) -> None:
        """Register a hook on the backbone, if the images have labels."""
        self.layer, self.listener = None, None
        dataset = runner.train_dataloader.dataset
        labels = torch.as_tensor(getattr(dataset, "labels", -torch.ones(1))).cpu()
        self.classes = getattr(dataset, "num_classes", 0)
        if labels.ndim != 1 or not bool(labelled_rows(labels).any()) or self.classes < 2:
            runner.logger.info("No online probe: the training images have no labels of one class each.")
            return
        self.held_out = self._held_out(runner, labels)
        self.listener = bare_model(runner).backbone.register_forward_hook(self._listen)

    @staticmethod
    def _held_out(runner, labels: Tensor) -> Tensor | None:
        """Mask of the training rows used for validation."""
        splits = runner.evaluation_splits
        if splits is None or splits.val is not None:
            return None
        if not torch.equal(torch.as_tensor(splits.train.labels).cpu(), labels):
            return None
        mask = torch.zeros(len(labels), dtype=torch.bool)
        mask[hold_out(labels, seed=0, groups=splits.groups)[1]] = True
        return mask

    def _listen(self, backbone: nn.Module, inputs: Any, outputs: Any) -> None:
        if self.rows and self.features is None:
            features = pool_features(outputs).detach()
            # Some algorithms also pass patches or other batches with another number of rows.
            if len(features) == self.rows:
                self.features = features

    def before_train_iter(self, runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Expect the features of this batch."""
        self.rows = len(data_batch["labels"]) if self.listener is not None else 0

    def begin_step(self) -> None:
        """Drop the features of an unfinished step."""
        self.features = None

    def device_step(self, runner, batch: dict[str, Any], outputs: dict[str, Tensor]) -> None:
        """Train the layer for one step."""
        features, self.features = self.features, None
        if features is None:
            return
        features = features.float()
        labels = batch["labels"]
        if self.held_out is not None:
            self.held_out = self.held_out.to(labels.device)
            labels = labels.masked_fill(self.held_out[batch["indices"]], -1)
        if self.layer is None:
            self._start(features)
        self._step(features, labels.to(features.device, non_blocking=True).clamp(min=-1))

    def after_train_iter(
        self, runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Log the layer's figures when a log line is due."""
        self.rows = 0
        if self.layer is not None and line_due(self, runner, batch_idx):
            loss, right, count = self.sums.tolist()
            self.sums.zero_()
            if count:
                runner.message_hub.update_scalar("train/probe_cross_entropy", loss / count)
                runner.message_hub.update_scalar("train/probe_top1", right / count)

    def _start(self, features: Tensor) -> None:
        # The problem is convex; zeros leave the run's random state unchanged.
        layer = nn.utils.skip_init(nn.Linear, features.shape[1], self.classes, device=features.device)
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
        self.layer = layer
        self.optimizer = torch.optim.Adam(layer.parameters(), self.lr)
        self.sums = features.new_zeros(3)
        if self.saved is not None:
            layer.load_state_dict(self.saved["layer"])
            self.optimizer.load_state_dict(self.saved["optimizer"])
            self.sums.copy_(self.saved["sums"])
            self.saved = None
        fuse_adam(self.optimizer)

    def _step(self, features: Tensor, labels: Tensor) -> None:
        """Adam step on the batch of all processes; gradients, loss, hits and rows are reduced together."""
        parameters = list(self.layer.parameters())
        logits = self.layer(features)
        loss = F.cross_entropy(logits, labels, ignore_index=-1, reduction="sum")
        gradients = torch.autograd.grad(loss, parameters)
        right, count = (logits.argmax(1) == labels).sum(), (labels >= 0).sum()
        joined = torch.cat([*(g.flatten() for g in gradients), torch.stack([loss.detach(), right, count])])
        all_reduce(joined)
        *parts, figures = joined.split([*(p.numel() for p in parameters), 3])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter) / figures[2].clamp(min=1)
        self.optimizer.step()
        self.sums += figures

    def after_train(self, runner) -> None:
        """Remove the hook."""
        if self.listener is not None:
            self.listener.remove()

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Store layer and optimiser."""
        if self.layer is not None:
            checkpoint[KEY] = dict(
                layer=self.layer.state_dict(), optimizer=self.optimizer.state_dict(), sums=self.sums.clone()
            )

    @torch.no_grad()
    def validate(self, runner, features: Tensor, labels: Tensor) -> dict[str, float]:
        """Loss and accuracy on validation features (N, D); empty if they would be misleading.

        That is the case for labels of another data set, or if the layer may have been trained on these
        images.
        """
        splits, trained = runner.evaluation_splits, runner.train_dataloader.dataset
        same = splits.train.num_classes == self.classes if self.layer is not None else False
        same = same and getattr(splits.train, "classes", None) == getattr(trained, "classes", None)
        if not same or (splits.val is None and self.held_out is None):
            return {}
        logits = self.layer(features.to(self.sums))
        labels = labels.to(logits.device)
        return {
            "val_probe_cross_entropy": float(F.cross_entropy(logits, labels)),
            "val_probe_top1": float((logits.argmax(1) == labels).float().mean()),
        }
