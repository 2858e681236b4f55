"""Activation checkpointing: computing the stages of a backbone again in the backward pass, to keep less."""

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
    """Keep of each stage of ``model.backbone`` its input alone, and compute the rest again in backward.

    No result changes: random numbers are drawn again as they were, and the second computation writes to no
    buffer, so that running statistics move once a step. Names in the state dict stay. Passes without
    gradient or in evaluation mode are computed as before, and so are copies of the backbone that were made
    before, such as momentum networks, which keep nothing for a gradient.

    Raises:
        UserError: The backbone has no stages.
    """
    for stage in checked_stages(model):
        # On the module itself and not around its call, so that hooks on it run once.
        stage.forward = MethodType(_recomputed_forward, stage)


def checked_stages(model: nn.Module) -> list[nn.Module]:
    """Stages or blocks of the model's backbone.

    Raises:
        UserError: The backbone has none.
    """
    backbone = model.backbone
    stages = backbone_stages(backbone)
    if not stages:
        raise UserError(
            f"activation_checkpointing is True and the backbone {type(backbone).__name__} has no stages to "
            "compute again (res_layers, or layers of a transformer): set activation_checkpointing=False."
        )
    return stages


@contextmanager
def buffers_kept(module: nn.Module) -> Iterator[None]:
    """What passes inside write to the buffers of ``module`` is forgotten: they read and write copies.

    >>> norm = nn.BatchNorm1d(2)
    >>> with buffers_kept(norm):
    ...     _ = norm(torch.randn(8, 2) + 5)
    >>> norm.running_mean.tolist(), int(norm.num_batches_tracked)
    ([0.0, 0.0], 0)
    """
    # Not written back afterwards: autograd would take a buffer that it holds for changed.
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
    # Called in the forward pass, which may be one that keeps running statistics (models.utils).
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
