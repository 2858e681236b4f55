"""Mixing needs PyTorch alone; graph cuts and assignments import their libraries when they are made."""

import subprocess
import sys

SCRIPT = """
import sys
for name in ("mmengine", "mmcv", "mmpretrain", "torchvision", "scipy", "maxflow"):
    sys.modules[name] = None
import torch
from ssl_ext import mixups
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


def test_mixing_imports_pytorch_alone():
    finished = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
