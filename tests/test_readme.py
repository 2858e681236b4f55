"""Runs the README's commands, in its order, in a folder that looks like a fresh clone."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.S)
COMMANDS = [line for language, block in BLOCKS if language == "bash" for line in block.splitlines()]
# Run by tools/quickstart.sh's own use and by the continuous integration.
ELSEWHERE = ("bash tools/quickstart.sh", "bash tools/test.sh", "source .venv")
ONE_EPOCH = "--cfg-options train_cfg.max_epochs=1"
# Shorter arguments for slow commands.
LESS = {
    "epoch_100.pth": "epoch_1.pth",
    "temperature=0.1,2.0": "temperature=0.1",
    "--seeds 0 1": "--seeds 0",
    "--fractions 0.1 1": "--fractions 0.1",
}
SHORT = {
    "python tools/train.py": ONE_EPOCH,
    "bash tools/dist_train.sh": ONE_EPOCH,
    "python tools/sweep.py": ONE_EPOCH,
    "python tools/evaluate.py": "--cfg-options evaluation.linear_aug.epochs=1 evaluation.finetune.epochs=1"
    " evaluation.finetune.evaluations=1 evaluation.finetune.min_steps=10",
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clone")
    for name in ("configs", "tools", "ssl_ext"):
        (folder / name).symlink_to(ROOT / name)
    (example,) = (block for language, block in BLOCKS if language == "python" and "_base_" in block)
    (folder / "mine.py").write_text(example)
    images, labels = load_digits(return_X_y=True)
    images = np.repeat((images * 15).astype(np.uint8).reshape(-1, 8, 8, 1), 3, axis=3)
    images = images.repeat(4, axis=1).repeat(4, axis=2)
    for number, (image, label) in enumerate(zip(images[:60], labels[:60], strict=True)):
        (folder / f"data/mine/{label}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"data/mine/{label}/{number}.png")
    np.savez(
        folder / "data" / "mine.npz",
        x_train=images[:70],
        y_train=labels[:70],
        x_test=images[-100:],
        y_test=labels[-100:],
    )
    return folder


@pytest.mark.parametrize("command", [c for c in COMMANDS if not c.startswith(ELSEWHERE)])
def test_command(command, clone):
    shorter = command
    for long, short in LESS.items():
        shorter = shorter.replace(long, short)
    shorter += "".join(f" {extra}" for start, extra in SHORT.items() if command.startswith(start))
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PORT": "29611",
    }
    done = subprocess.run(
        shorter, shell=True, cwd=clone, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{shorter}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


def test_every_file_that_the_readme_names_is_there():
    names = re.findall(r"(?:configs|tools|ssl_ext)/[\w./-]+\w", README)
    missing = [name for name in names if not (ROOT / name.split(",")[0]).exists()]
    assert not missing
