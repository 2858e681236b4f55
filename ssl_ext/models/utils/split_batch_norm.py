"""Batch normalisation over parts of a batch (He et al., 2020, use it on one GPU for small images)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_ext.losses import world_size
from ssl_ext.registry import MODELS


@MODELS.register_module()
class SplitBN(nn.Module):
    """Batch normalisation with separate training statistics for ``num_splits`` equal parts of the batch.

    The batch is that of all processes: each of W processes normalises its images in ``num_splits`` / W parts
    (at least one). With P parts in a process, row i belongs to part i mod P. MoCo needs it because statistics
    of the whole batch would leak which key belongs to a query. Parameters, buffers and evaluation are those
    of :class:`torch.nn.BatchNorm2d`, so state dicts are interchangeable. It is never converted to
    synchronised batch normalisation.

    Args:
        num_features: Number of channels C.
        num_splits: Number of parts; a multiple of the number of processes, or a divisor of it.
        eps: Added to the variance.
        momentum: Weight of the new statistics (averaged over the parts) in the running statistics.

    Raises:
        ValueError: ``num_splits`` below 1.
    """

    # MMCV names layers by this abbreviation, so state dicts have bn1, bn2, ...
    _abbr_ = "bn"
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self, num_features: int, num_splits: int = 8, eps: float = 1e-5, momentum: float = 0.1
    ) -> None:
        super().__init__()
        if not isinstance(num_splits, int) or num_splits < 1:
            raise ValueError(f"norm_cfg.num_splits is {num_splits!r}; it must be at least 1.")
        self.num_splits, self.eps, self.momentum = num_splits, eps, momentum
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x (N, C, ...) over each channel.

        Raises:
            ValueError: In training mode, the parts cannot be shared equally among the processes, or the batch
                does not split into equal parts of two or more.
        """
        if not self.training:
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        splits, rows = self.own_splits(), len(x)
        if rows % splits or rows < 2 * splits:
            raise ValueError(
                f"A batch of {rows} images cannot be normalised in {splits} equal parts of two or more: "
                f"train_dataloader.batch_size must be a multiple of norm_cfg.num_splits (with drop_last), "
                "divided by the number of processes."
            )
        means, variances = self.running_mean.repeat(splits), self.running_var.repeat(splits)
        # One call for all parts, which are moved to the channel axis.
        parts = x.reshape(rows // splits, splits * x.shape[1], *x.shape[2:])
        out = F.batch_norm(
            parts,
            means,
            variances,
            self.weight.repeat(splits),
            self.bias.repeat(splits),
            True,
            self.momentum,
            self.eps,
        )
        with torch.no_grad():
            self.running_mean.copy_(means.view(splits, -1).mean(0))
            self.running_var.copy_(variances.view(splits, -1).mean(0))
            self.num_batches_tracked.add_(1)
        return out.reshape(x.shape)

    def own_splits(self) -> int:
        """Parts of this process's batch."""
        splits, world = self.num_splits, world_size()
        if splits % world and world % splits:
            raise ValueError(
                f"norm_cfg.num_splits is {splits}; with {world} processes it must be a multiple or a divisor "
                f"of {world}."
            )
        return max(1, splits // world)
