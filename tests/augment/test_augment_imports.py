"""The package imports no other library than torch."""

import subprocess
import sys

BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"mmengine", "mmcv", "mmpretrain", "torchvision"}:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
import torch
import ssl_ext.augment as a

a.AugmentationSequence([
    a.RandomResizedCrop(8), a.RandomHorizontalFlip(), a.ColorJitter(0.4, 0.4, 0.4, 0.1),
    a.RandomGrayscale(), a.GaussianBlur(3), a.RandomSolarize(), a.RandomRotation(10),
    a.RandomCrop(8, padding=1), a.RandomEqualize(), a.RandomSharpness(), a.Normalize([0.5], [0.5]),
])(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
if "triton" in sys.modules:
    sys.exit("Triton is imported before a GPU needs it")
try:
    import torchvision
except ImportError:
    sys.exit(0)
sys.exit("the blocker does not block")
"""


def test_augmentations_run_without_the_openmmlab_packages_and_torchvision():
    done = subprocess.run([sys.executable, "-c", BLOCKED], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
