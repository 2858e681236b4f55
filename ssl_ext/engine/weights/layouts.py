"""Tensor names in checkpoints of other libraries, and their names in this project."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from torch import Tensor

OWN = "backbone."
# Prefix of the EMA copy of a classifier that is used for inference.
DEPLOYED = "deployed."
# Prefixes of the network to load, and the libraries that use them. The first prefix with a stem is used;
# momentum copies (`encoder_k.`, `momentum_backbone.`) are never loaded.
ENCODERS = {
    "backbone.bottom_up.": "detectron2 with FPN",
    OWN: "this project, MMPretrain, Barlow Twins, VICReg, solo-learn, lightly, detectron2",
    "encoder_q.": "MoCo v1 and v2",
    "encoder_q.0.": "MoCo of MMSelfSup",
    "base_encoder.": "MoCo v3",
    "student_backbone.": "DINO of lightly",
    "encoder.": "SimCLR and BYOL in several releases, early solo-learn",
    "online_encoder.net.": "BYOL of byol-pytorch",
    "_feature_blocks.": "VISSL",
    "": "torchvision, timm, SwAV, released backbones of Barlow Twins, VICReg and DINO",
}
# A Lightning module holds its network, in any of these layouts, under this name.
LIGHTNING = "model."
# Parts of names that DataParallel, DDP, averaged models and torch.compile add.
WRAPPERS = {"module", "_orig_mod"}


def own_names(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Rename a ResNet's tensors to this project's names.

    Supported are the prefixes of :data:`ENCODERS`, also after ``model.``, each with names of torchvision, of
    detectron2 (``res2.0.conv1.norm.weight``) or of an ``nn.Sequential`` of torchvision's children. A state
    dict without a known stem keeps its names if some begin with ``backbone.``; otherwise it is treated as a
    plain backbone. For classifiers whose EMA copy is used for inference (AMix, AutoMix), the copy's backbone
    and heads replace the network's.

    Args:
        state: Names without the parts of wrappers (:func:`unwrapped`).

    Returns:
        The renamed state dict, with the encoder under ``backbone.`` and other names unchanged, and a
        description of the layout, empty for this project's own.
    """
    if any(name.startswith(DEPLOYED + OWN) for name in state):
        copies = {name.removeprefix(DEPLOYED): name for name in state if name.startswith(DEPLOYED)}
        deployed = {name.removeprefix("neck."): state[source] for name, source in copies.items()}
        return state | deployed, f"the momentum network '{DEPLOYED}*'"
    for prefix in (*ENCODERS, *(LIGHTNING + prefix for prefix in ENCODERS)):
        inside = {name[len(prefix) :] for name in state if name.startswith(prefix)}
        spelling, rename = _spelling(inside)
        if rename is None:
            continue
        if spelling == "detectron2's" and prefix == OWN:
            # Faster R-CNN C4 keeps the last stage in its RoI head.
            state = {re.sub(r"^roi_heads\.res5\.", "backbone.res5.", n): v for n, v in state.items()}
        renamed = {
            OWN + rename(name[len(prefix) :]) if name.startswith(prefix) else name: value
            for name, value in state.items()
        }
        own = (prefix, spelling) == (OWN, "torchvision's")
        return renamed, "" if own else f"{spelling} names under '{prefix}*'"
    if any(name.startswith(OWN) for name in state):
        return state, ""
    return {OWN + name: value for name, value in state.items()}, ""


def unwrapped(name: str) -> str:
    """Name of a tensor without the parts that wrappers add.

    >>> unwrapped("module.encoder._orig_mod.module.conv1.weight")
    'encoder.conv1.weight'
    """
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _spelling(names: Collection[str]) -> tuple[str, Callable[[str], str] | None]:
    """Library whose names these are, recognised by the stem, and a function to torchvision's names."""
    if "conv1.weight" in names:
        return "torchvision's", _without_shortcuts
    if "stem.conv1.weight" in names:
        return "detectron2's", from_detectron2
    if "0.weight" in names and "1.running_mean" in names:
        # Numbered children: 0 is the convolution, 1 its normalisation, those with blocks are the stages.
        stages = sorted({int(n.split(".")[0]) for n in names if re.match(r"\d+\.\d+\.", n)})
        children = {"0": "conv1", "1": "bn1"} | {str(n): f"layer{i}" for i, n in enumerate(stages, 1)}

        def rename(name: str) -> str:
            child, _, rest = name.partition(".")
            return _without_shortcuts(f"{children.get(child, child)}.{rest}")

        return "numbered", rename
    return "", None


def _without_shortcuts(name: str) -> str:
    # Some ResNets for small images name the projection "shortcut".
    return re.sub(r"(layer\d\.\d+)\.shortcut\.", r"\1.downsample.", name)


def to_detectron2(name: str) -> str:
    """Convert torchvision's name of a ResNet tensor to detectron2's.

    >>> to_detectron2("bn1.weight"), to_detectron2("layer4.0.downsample.1.bias")
    ('stem.conv1.norm.weight', 'res5.0.shortcut.norm.bias')
    """
    name = re.sub(r"^layer(\d)", lambda match: f"res{int(match[1]) + 1}", name)
    name = re.sub(r"\bbn(\d)", r"conv\1.norm", name)
    name = name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")
    return name if name.startswith("res") else f"stem.{name}"


def from_detectron2(name: str) -> str:
    """Inverse of :func:`to_detectron2`.

    >>> from_detectron2("res5.0.shortcut.norm.bias")
    'layer4.0.downsample.1.bias'
    """
    name = re.sub(r"^res(\d)", lambda match: f"layer{int(match[1]) - 1}", name.removeprefix("stem."))
    name = re.sub(r"\bconv(\d)\.norm", r"bn\1", name)
    return name.replace("shortcut.norm", "downsample.1").replace("shortcut.", "downsample.0.")
