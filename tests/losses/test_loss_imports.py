"""The losses need PyTorch and nothing of OpenMMLab or torchvision."""

import subprocess
import sys

SCRIPT = """
import sys
for name in ("mmengine", "mmcv", "mmpretrain", "torchvision"):
    sys.modules[name] = None
import torch
from ssl_ext.losses import trimix_terms
terms = trimix_terms(*torch.randn(3, 4, 2), 0.5)
assert all(torch.isfinite(term) for term in terms)
"""


def test_losses_import_without_openmmlab():
    finished = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
