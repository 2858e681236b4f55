"""Imports go down a total order of packages, without circles; the lowest ones need torch alone."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "ssl_ext"
# Highest first. A module belongs to the longest name that its own begins with.
ROOMS = (
    "cli",
    *(
        "apis",
        "apis.explore",
        "apis.figures",
        "apis.sweep",
        "apis.tables",
        "apis.compare",
        "apis.report",
        "apis.label_curve",
        "apis.evaluate",
        "apis.pretrain",
        "apis.export",
        "apis.predict",
        "apis.pack",
    ),
    *("detection", "exporting", "config", "engine", "models", "datasets", "evaluation", "visualization"),
    *("mixups", "losses", "augment", "capture"),
    *("registry", "multimodal", "env", "json_files", "escape", "files", "errors", "logs", "console"),
    *("processes", "values", "names", "", "moved"),
)
MAX_LINES = 250

FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / PACKAGE).rglob("*.py"))
}


def imported(module: str, text: str, is_package: bool) -> set[str]:
    """Modules of the package that a module imports anywhere: in functions and under TYPE_CHECKING too."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = module.split(".")[: -node.level + is_package or None] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            # A name is a module, or an attribute of the module before it.
            names = [
                f"{base}.{alias.name}" if f"{base}.{alias.name}" in FILES else base for alias in node.names
            ]
        else:
            continue
        found.update(name for name in names if name.split(".")[0] == PACKAGE)
    return found


def room(module: str) -> int:
    inside = module.removeprefix(PACKAGE).removeprefix(".")
    known = [name for name in ROOMS if name and (inside == name or inside.startswith(f"{name}."))]
    assert known or not inside, f"{module} has no place in ROOMS"
    return ROOMS.index(max(known, key=len, default=""))


IMPORTS = {
    module: imported(module, path.read_text(encoding="utf-8"), path.name == "__init__.py")
    for module, path in FILES.items()
}


def test_no_import_goes_up():
    up = [
        f"{module} imports {name}"
        for module in IMPORTS
        for name in IMPORTS[module]
        if room(name) < room(module)
    ]
    assert not up, "\n".join(up)


def test_no_modules_import_each_other():
    tuple(graphlib.TopologicalSorter(IMPORTS).static_order())


@pytest.mark.parametrize(
    ("module", "text", "name"),
    [
        ("ssl_ext.losses.one", "from ssl_ext.mixups import Mixed", "ssl_ext.mixups"),
        ("ssl_ext.losses.one", "def f():\n    import ssl_ext.mixups.mask", "ssl_ext.mixups.mask"),
        ("ssl_ext.losses.one", "if TYPE_CHECKING:\n    from ..mixups import mask", "ssl_ext.mixups.mask"),
        ("ssl_ext.losses", "from ..mixups import mask", "ssl_ext.mixups.mask"),
    ],
)
def test_every_way_to_import_up_is_seen(module, text, name):
    (found,) = imported(module, text, module == "ssl_ext.losses")
    assert found == name
    assert room(found) < room(module)


def test_files_are_short():
    lines = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in FILES.values()
    }
    assert not {name for name, count in lines.items() if count > MAX_LINES}


BLOCKED = """
import sys
for name in ("mmengine", "mmcv", "mmpretrain", "torchvision", "matplotlib", "scipy", "maxflow"):
    sys.modules[name] = None
import torch
import ssl_ext.augment as a
from ssl_ext import losses, mixups

sequence = a.AugmentationSequence([
    a.RandomResizedCrop(8), a.RandomHorizontalFlip(), a.ColorJitter(0.4, 0.4, 0.4, 0.1),
    a.RandomGrayscale(), a.GaussianBlur(3), a.RandomSolarize(), a.RandomRotation(10),
    a.RandomCrop(8, padding=1), a.RandomEqualize(), a.RandomSharpness(), a.Normalize([0.5], [0.5]),
])
for kind in (torch.float32, torch.uint8):
    sequence(torch.zeros(2, 3, 8, 8, dtype=kind))
assert "triton" not in sys.modules, "Triton is imported before a GPU needs it"

assert all(torch.isfinite(term) for term in losses.trimix_terms(*torch.randn(3, 4, 2), 0.5))
mask = mixups.MixBlock(4)(*torch.randn(2, 3, 4, 2, 2), 0.5, size=(8, 8))
assert torch.isfinite(mixups.mask_loss(mixups.adjust_mask(mask, 0.2), 0.2))

# Graph cuts and assignments import their libraries when they are made.
assert "ssl_ext.mixups.co_mixup_energy" not in sys.modules
images, permutation = torch.rand(2, 3, 8, 8), torch.tensor([1, 0])
for policy in (mixups.mixup, mixups.cutmix, mixups.saliencymix, mixups.fmix, mixups.resizemix):
    policy(images, 0.5, permutation)
for policy in (mixups.puzzlemix, lambda images, *_, saliency: mixups.co_mixup(images, saliency=saliency)):
    try:
        policy(images, 0.5, permutation, saliency=torch.rand(2, 8, 8))
    except ImportError as error:
        assert "pip install PyMaxflow" in str(error), error
    else:
        raise AssertionError("no graph cut can have been made")
"""


def test_augmentations_losses_and_mixing_need_torch_alone():
    done = subprocess.run([sys.executable, "-c", BLOCKED], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
