"""Loading of weights from this project's checkpoints and from other libraries."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from ssl_ext.errors import OtherNetworkError, UserError

from .files import read_weights
from .layouts import OWN, own_names, unwrapped

CONTAINERS = (
    "state_dict",
    "model",
    "model_state_dict",
    "online_network_state_dict",
    # VISSL nests these four; "teacher" is DINO's.
    "classy_state_dict",
    "base_model",
    "trunk",
    "teacher",
)
# Averaged weights of timm and ConvNeXt, beside those of the last step.
EMA_CONTAINERS = ("state_dict_ema", "model_ema")
COUNTER = "num_batches_tracked"
TRAINING = ("meta", "message_hub")


@dataclass(frozen=True)
class LoadReport:
    """Result of a load: names of matched and missing model tensors, and of unused file tensors.

    ``foreign`` are unused tensors that belong to a stage of the backbone, so the file's network has more
    layers. ``training`` is the file's record of its training, ``meta`` and ``message_hub``.
    """

    path: str
    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    backbone_share: float
    layout: str = ""
    foreign: tuple[str, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """True if the file has every tensor of the backbone, in the right shape, and no further layers."""
        return self.backbone_share == 1 and not self.foreign

    def __str__(self) -> str:
        def names(keys: tuple[str, ...]) -> str:
            shown = ", ".join(keys[:6])
            return f"{shown}, ..." if len(keys) > 6 else shown or "-"

        return (
            f"{self.path}: {len(self.matched)} tensors matched "
            f"({self.backbone_share:.1%} of the backbone); "
            f"missing {len(self.missing)} ({names(self.missing)}); "
            f"unexpected {len(self.unexpected)} ({names(self.unexpected)}); "
            f"other shape {len(self.mismatched)} ({names(self.mismatched)})"
            + (f"; read as {self.layout}" if self.layout else "")
        )


def find_state_dict(checkpoint: Any, path: str = "checkpoint", *, ema: bool = False) -> dict[str, Tensor]:
    """State dict inside ``checkpoint``, without the name parts added by wrappers.

    Args:
        checkpoint: A state dict, or nested containers of one.
        path: Path of its file, for messages.
        ema: Use the averaged weights (:data:`EMA_CONTAINERS`); also used if there are no others.

    Raises:
        UserError: It contains no mapping from names to tensors, or no averaged weights.
    """
    averaged = _inner(checkpoint, EMA_CONTAINERS)
    if ema and averaged is None:
        raise UserError(f"'{path}' has no averaged weights under {' or '.join(EMA_CONTAINERS)} (--ema).")
    if averaged is not None and (ema or _inner(checkpoint, CONTAINERS) is None):
        checkpoint = checkpoint[averaged]
    elif averaged is not None:
        print_log(f"'{path}' also has averaged weights ('{averaged}'); --ema loads them.", logger="current")
    while isinstance(checkpoint, Mapping):
        inner = _inner(checkpoint, CONTAINERS)
        if inner is None:
            break
        checkpoint = checkpoint[inner]
    if not isinstance(checkpoint, Mapping):
        raise UserError(f"'{path}' has a {type(checkpoint).__name__}, not a state dict.")
    tensors = {str(name): value for name, value in checkpoint.items() if torch.is_tensor(value)}
    if not tensors:
        raise UserError(f"'{path}' has no tensors under any of the keys {', '.join(CONTAINERS)}.")
    plain = {unwrapped(name): value for name, value in tensors.items()}
    # Names that differ only by a wrapper belong to two networks.
    return plain if len(plain) == len(tensors) else tensors


def _inner(checkpoint: Any, keys: Sequence[str]) -> str | None:
    """Return the first of the keys whose value is a mapping."""
    if not isinstance(checkpoint, Mapping):
        return None
    return next((key for key in keys if isinstance(checkpoint.get(key), Mapping)), None)


def load_weights(
    model: nn.Module,
    path: str | os.PathLike,
    *,
    allow_partial: bool = False,
    training_state: bool = True,
    ema: bool = False,
) -> LoadReport:
    """Load a checkpoint into ``model`` (which has a ``backbone``) and report what matched.

    Checkpoints of MoCo, Barlow Twins, VICReg, SwAV, SimCLR, BYOL, DINO, solo-learn, lightly, VISSL, timm,
    torchvision and detectron2 are supported (:func:`.layouts.own_names`). A file without the
    ``backbone.`` prefix is treated as a plain backbone (torchvision's layout is this project's). Tensors of
    another shape are never loaded. Batch counters (``num_batches_tracked``) do not count towards the matched
    share of the backbone, since some libraries do not store them.

    Args:
        model: Any model with a ``backbone`` attribute.
        path: Checkpoint of this project, torch file with a state dict, safetensors file, or pickle of NumPy
            arrays; or the index of several such files, or a folder with one of them.
        allow_partial: Accept a file that lacks tensors of the backbone, or has more layers.
        training_state: Also load buffers other than running statistics: queues, banks, clusters, step
            counters. False for a new training.
        ema: Load the EMA weights of the file (``state_dict_ema``) instead of the raw weights.

    Returns:
        The report; it is also logged.

    Raises:
        UserError: The file cannot be read, or has NaN or infinite values.
        OtherNetworkError: The file has another backbone, and ``allow_partial`` is False.
    """
    content = read_weights(path)
    state, layout = own_names(find_state_dict(content, str(path), ema=ema))
    target = model.state_dict()
    # The model's own names may contain name parts that were removed from the file's.
    own = {unwrapped(name): name for name in target}
    state = {own.get(name, name): value for name, value in state.items()}
    if not training_state:
        for name in training_buffers(model):
            target.pop(name, None)
            state.pop(name, None)
    mismatched = tuple(n for n, v in state.items() if n in target and v.shape != target[n].shape)
    usable = {n: v for n, v in state.items() if n in target and n not in mismatched}
    backbone = [name for name in target if name.startswith(OWN) and not name.endswith(COUNTER)]
    loaded = sum(name in usable for name in backbone)
    parts = {name.split(".")[1] for name in backbone}
    unexpected = tuple(name for name in state if name not in target)
    report = LoadReport(
        path=str(path),
        matched=tuple(usable),
        missing=tuple(name for name in target if name not in usable and name not in mismatched),
        unexpected=unexpected,
        mismatched=mismatched,
        backbone_share=loaded / max(len(backbone), 1),
        layout=layout,
        foreign=tuple(
            name
            for name in unexpected
            if name.startswith(OWN) and not name.endswith(COUNTER) and name.split(".")[1] in parts
        ),
        training={key: content[key] for key in TRAINING if isinstance(content, dict) and key in content},
    )
    if not (report.whole or allow_partial):
        hint = ""
        if any(name.endswith("backbone.conv1.weight") for name in mismatched):
            hint = " The stems differ: use a config with the stem of the weights."
        reason = f"Only {loaded} of the {len(backbone)} tensors of the backbone would be loaded"
        if report.foreign:
            reason += f", and {len(report.foreign)} of the file belong to layers that the backbone lacks"
            reason += f" ({report.foreign[0]} first)"
        raise OtherNetworkError(f"{reason} (--allow-partial accepts another backbone). {report}.{hint}")
    spoiled = [name for name, value in usable.items() if not torch.isfinite(value).all()]
    if spoiled:
        raise UserError(f"'{path}' has NaN or infinite values in {len(spoiled)} tensors, {spoiled[0]} first.")
    model.load_state_dict(usable, strict=False)
    print_log(f"Loaded {report}", logger="current")
    return report


def training_buffers(model: nn.Module) -> set[str]:
    """Names of the buffers that hold training state: all except those of normalisation layers.

    >>> from ssl_ext.models.utils import Queue
    >>> sorted(training_buffers(nn.Sequential(Queue(4, 2), nn.BatchNorm1d(2))))
    ['0.features', '0.pointer']
    """
    return {
        f"{prefix}.{name}".lstrip(".")
        for prefix, module in model.named_modules()
        if not hasattr(module, "running_mean")
        for name, _ in module.named_buffers(recurse=False)
        if name not in module._non_persistent_buffers_set
    }
