"""Export the backbone of a checkpoint to a file for other libraries."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

from ssl_ext import __version__
from ssl_ext.config.stored import network_text
from ssl_ext.engine import LoadReport, checkpoint_of, find_state_dict
from ssl_ext.engine.weights.files import read_weights, weights_hash
from ssl_ext.engine.weights.layouts import DEPLOYED
from ssl_ext.errors import UserError
from ssl_ext.exporting import FORMATS, largest_difference, load_classifier
from ssl_ext.exporting.classifier import ClassifierModule
from ssl_ext.exporting.embedder import CHANNELS
from ssl_ext.exporting.formats import architecture_words
from ssl_ext.exporting.loading import record, stored_network, trained_method, trained_on
from ssl_ext.files import check_writable, replacing
from ssl_ext.models.selfsup.base import TrainableModel
from ssl_ext.models.utils import pool_features


@dataclass(frozen=True)
class ExportReport:
    """An exported file: path, matched tensors, and ``about``, the description of the network.

    ``difference`` is the largest difference of features, see :func:`ssl_ext.exporting.largest_difference`.
    """

    path: Path
    matched: int
    tensors: int
    difference: float
    about: dict[str, Any]

    def lines(self) -> list[str]:
        """Text lines with the file, its preprocessing and the code that loads it."""
        about = self.about
        return [
            f"wrote {self.path}",
            f"{about['method']}, {about['network']} network: {architecture_words(about['architecture'])}",
            f"{self.matched} of {self.tensors} tensors matched; the {about['features']} "
            f"{about['outputs']} differ from the checkpoint's by at most {self.difference:.1e}",
            f"input: {about['input']}",
            f"channels {about['channel_order']}, mean {about['mean']}, std {about['std']}",
            "load it:",
            *self.code,
        ]

    @property
    def code(self) -> list[str]:
        """Python program that loads the file."""
        own = ["import ssl_ext; model = ssl_ext.load(FILE)  # with its preprocessing"]
        lines = [*self.about["loading"], *([] if self.path.suffix == ".onnx" else own)]
        return [line.replace("FILE", repr(str(self.path))) for line in lines]


def export(
    checkpoint: str | os.PathLike,
    to: str,
    *,
    config: Config | str | os.PathLike | None = None,
    out: str | os.PathLike | None = None,
    network: str | None = None,
    image_size: int | None = None,
    overwrite: bool = False,
    allow_partial: bool = False,
    ema: bool = False,
    head: bool = False,
) -> ExportReport:
    """Export the backbone of a checkpoint to the format of another library.

    Before the file is written, the target library (torchvision, timm, onnxruntime ...) loads the network from
    its bytes, and its features of random images are compared with those of the original.

    Args:
        checkpoint: A checkpoint or a work dir (its newest checkpoint), or a file that
            :func:`ssl_ext.engine.load_weights` reads.
        to: ``'torchvision'``, ``'timm'``, ``'detectron2'``, ``'safetensors'`` or ``'onnx'``.
        config: Config of the training run; default: the one in the checkpoint, or the file beside it.
        out: The file; default in ``export/`` beside the checkpoint, such as ``epoch_200_timm.pth``.
        network: ``'online'`` or, for a model with an EMA network, ``'momentum'``; default: the model's
            ``exported_network``.
        image_size: Side of the random images; default: that of the training images if it is known, else 64.
        overwrite: Replace an existing file.
        allow_partial: Accept a checkpoint that lacks tensors of the backbone, or has more layers.
        ema: Load the EMA weights of the file (``state_dict_ema``) instead of the raw weights.
        head: Export the whole classifier of a file of ``ssl-ext evaluate --save``, for ``'onnx'``; its
            output are calibrated probabilities, and ``image_size`` is that of its training.

    Raises:
        UserError: Bad input, a network that the format does not support, a missing package, or features that
            differ; nothing is written.
    """
    if to not in FORMATS:
        raise UserError(f"--to is {to!r}; allowed are {', '.join(FORMATS)}.")
    if image_size is not None and image_size < 1:
        raise UserError(f"--image-size is {image_size}; it must be at least 1.")
    if head and (to != "onnx" or config is not None or network is not None):
        raise UserError("--head is for --to onnx and a classifier's own network and config.")
    form = FORMATS[to]
    checkpoint = source = checkpoint_of(checkpoint)
    path = Path(out) if out else source.parent / "export" / f"{source.stem}{form.ending}"
    if path.exists():
        irreplaceable = path.is_dir() or (source.exists() and path.samefile(source))
        if irreplaceable or not overwrite:
            raise UserError(
                f"'{path}' exists: give another --out{'' if irreplaceable else ', or --overwrite'}."
            )
    check_writable(path.parent, "--out", "The file")

    content = read_weights(checkpoint)
    settings, model, report = stored_network(
        checkpoint, content, config, torch.device("cpu"), allow_partial=allow_partial, ema=ema
    )
    _keep_networks_apart(model, find_state_dict(content, ema=ema))
    name, backbone = choose_network(model, network)
    names, extra = _names_of(model, backbone), dict[str, Any]()
    if head:
        classifier = load_classifier(checkpoint, "cpu")
        model, backbone, image_size = (
            classifier.network.model,
            ClassifierModule(classifier).eval(),
            classifier.image_size[0],
        )
        extra = dict(classes=classifier.classes, task=classifier.task, training=classifier.about["name"])
        extra["outputs"] = "probabilities"
    recorded = record(checkpoint, content), report.training
    origin = trained_on(*recorded)
    image_size = image_size or min(origin.get("image_size", (64,)))
    matched = set(names) & set(report.matched)
    if name != "online":
        _check_loaded(names, report, name, checkpoint)
    about = _about(model, backbone, name, source, content, image_size) | extra
    about |= origin | dict(method=trained_method(settings, *recorded))
    about |= dict(cfg=network_text(settings))
    about |= form.about(backbone, about)
    data = form.encode(backbone, about)
    difference = largest_difference(
        form.decode(data, backbone), model, backbone, mean=about["mean"], std=about["std"], size=image_size
    )
    with replacing(path) as file:
        file.write(data)
    return ExportReport(path, len(matched), len(names), difference, about)


def choose_network(model: TrainableModel, network: str | None) -> tuple[str, nn.Module]:
    """A backbone of the model and its name.

    The names are ``'online'``, and ``'momentum'`` for the EMA network, or ``'momentum-1'``, ``'momentum-2'``
    for several.

    Raises:
        UserError: The model has no such network.
    """
    copies = model.ema_networks()
    numbers = [""] if len(copies) == 1 else [f"-{i}" for i in range(1, len(copies) + 1)]
    found = {"online": model.backbone}
    found |= {f"momentum{i}": copy.backbone for i, copy in zip(numbers, copies, strict=True)}
    name = network or model.exported_network
    if name not in found:
        raise UserError(f"--network is {name!r}; {type(model).__name__} has {', '.join(found)}.")
    return name, found[name]


def _keep_networks_apart(model: nn.Module, stored: Mapping[str, Any]) -> None:
    """Load the online network's own weights, which loading has replaced by those of its deployed copy."""
    target = model.state_dict()
    if any(name.startswith(DEPLOYED) for name in target):
        usable = {n: v for n, v in stored.items() if n in target and v.shape == target[n].shape}
        model.load_state_dict(usable, strict=False)


def _names_of(model: nn.Module, part: nn.Module) -> list[str]:
    prefix = next(name for name, module in model.named_modules() if module is part)
    return [f"{prefix}.{name}" for name in part.state_dict()]


def _check_loaded(names: list[str], report: LoadReport, network: str, checkpoint: Any) -> None:
    absent = [name for name in names if name not in report.matched]
    if absent:
        raise UserError(
            f"'{checkpoint}' lacks {len(absent)} of {len(names)} tensors of the network {network!r} "
            f"({absent[0]}, ...): give --network online."
        )


def _about(
    model: TrainableModel,
    backbone: nn.Module,
    network: str,
    source: Path,
    content: Any,
    image_size: int,
) -> dict[str, Any]:
    if model.normalization is None:
        raise UserError(
            "The config has no data_preprocessor with mean and std: the normalisation of images is unknown."
        )
    mean, std = model.normalization
    meta = content.get("meta") if isinstance(content, Mapping) else None
    trained = {key: meta[key] for key in ("epoch", "iter") if isinstance(meta, Mapping) and key in meta}
    return dict(
        made_by=f"ssl_ext {__version__}",
        network=network,
        features=_num_features(backbone, len(mean), image_size),
        outputs="features",
        input=f"float32 (N, {len(mean)}, H, W), pixels in [0, 1] minus mean, divided by std",
        mean=mean,
        std=std,
        channel_order=CHANNELS.get(len(mean), f"{len(mean)} channels"),
        checked_at=image_size,
        source=dict(file=source.name, sha256=weights_hash(source), **trained),
    )


@torch.no_grad()
def _num_features(backbone: nn.Module, channels: int, image_size: int) -> int:
    try:
        return pool_features(backbone(torch.zeros(1, channels, image_size, image_size))).shape[1]
    except (RuntimeError, ValueError, AssertionError) as error:
        raise UserError(
            f"The backbone does not accept {channels} channels of {image_size} x {image_size} pixels "
            f"({error}): give --image-size."
        ) from error
