"""Activation checkpointing: recompute the stages of a backbone in the backward pass to save memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from ssl_ext.errors import UserError
from ssl_ext.models.utils import backbone_stages


def recompute_stages(model: nn.Module) -> None:
    """Checkpoint the activations of each stage of ``model.backbone``.

    Results do not change: the recomputation uses the same random numbers and writes to no buffer, so running
    statistics are updated once per step. Names in the state dict do not change. Passes without gradient or in
    evaluation mode, and existing copies of the backbone such as EMA networks, are not affected.

    Raises:
        UserError: The backbone has no stages.
    """
    for stage in checked_stages(model):
        # Wrap ``forward`` and not the call, so that hooks on the stage run once.
        stage.forward = MethodType(_recomputed_forward, stage)


def checked_stages(model: nn.Module) -> list[nn.Module]:
    """Stages or blocks of the model's backbone.

    Raises:
        UserError: The backbone has no stages.
    """
    backbone = model.backbone
    stages = backbone_stages(backbone)
    if not stages:
        raise UserError(
            f"activation_checkpointing is True but the backbone {type(backbone).__name__} has no stages "
            "(res_layers, or layers of a transformer): set activation_checkpointing=False."
        )
    return stages


@contextmanager
def buffers_kept(module: nn.Module) -> Iterator[None]:
    """Let passes inside read and write copies of the buffers of ``module``, which stay unchanged.

    >>> norm = nn.BatchNorm1d(2)
    >>> with buffers_kept(norm):
    ...     _ = norm(torch.randn(8, 2) + 5)
    >>> norm.running_mean.tolist(), int(norm.num_batches_tracked)
    ([0.0, 0.0], 0)
    """
    # Restoring values in place would raise in autograd for saved buffers, so copies are swapped in.
    owners = [(part, dict(part._buffers)) for part in module.modules() if part._buffers]
    try:
        for part, buffers in owners:
            part._buffers.update({k: None if b is None else b.clone() for k, b in buffers.items()})
        yield
    finally:
        for part, buffers in owners:
            part._buffers.update(buffers)


def _recomputed_forward(stage: nn.Module, *args: Any, **kwargs: Any) -> Any:
    forward = partial(type(stage).forward, stage)
    if not (stage.training and torch.is_grad_enabled()):
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, context_fn=partial(_contexts, stage), **kwargs)


def _contexts(stage: nn.Module) -> tuple[AbstractContextManager, AbstractContextManager]:
    # Called in the forward pass, so it sees whether running statistics are kept (models.utils).
    tracking = [(part, part.track_running_stats) for part in stage.modules() if isinstance(part, _BatchNorm)]
    return nullcontext(), _second_pass(stage, tracking)


@contextmanager
def _second_pass(stage: nn.Module, tracking: list[tuple[nn.Module, bool]]) -> Iterator[None]:
    now = [(norm, norm.track_running_stats) for norm, _ in tracking]
    try:
        for norm, tracks in tracking:
            norm.track_running_stats = tracks
        with buffers_kept(stage):
            yield
    finally:
        for norm, tracks in now:
            norm.track_running_stats = tracks
