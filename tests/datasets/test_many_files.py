"""Memory of all processes together while 100,000 files are trained on and classified."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_ext.env import memory_of

FILES, CLASSES, SOURCES, CLASSIFIED, LIMIT = 100_000, 10, 300, 2000, 4 * 2**30
CONFIG = """
_base_ = "ssl_ext::medical/simclr-nov_resnet18_1xb256-adamw-2000e_bloodmnist.py"
files = dict(_delete_=True, type="FolderDataset", data_root={root!r}, image_size=224)
few = dict(_delete_=True, type="FolderDataset", data_root={few!r}, image_size=224, test_share=0.3)
train_dataloader = dict(batch_size=32, num_workers=2, dataset=files)
evaluation_dataset = few
model = dict(backbone=dict(stem_channels=16, base_channels=16), neck=dict(in_channels=128))
train_cfg = dict(_delete_=True, by_epoch=False, max_iters=30)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=30))
"""


def descendants(process):
    """The process and all below it."""
    found, waiting = [], [process]
    while waiting:
        found.append(waiting.pop())
        for children in Path(f"/proc/{found[-1]}/task").glob("*/children"):
            try:
                waiting += map(int, children.read_text().split())
            except OSError:
                continue
    return found


def largest_memory(words, folder):
    """Run the command; its largest proportional memory (each shared page counted once), in bytes."""
    with open(folder / "log", "w+b") as log:
        program = [sys.executable, "-m", "ssl_ext.cli", *words]
        running = subprocess.Popen(program, cwd=folder, stdout=log, stderr=log)
        largest = 0
        while running.poll() is None:
            memories = [memory_of(pid) for pid in descendants(running.pid)]
            largest = max(largest, sum(memory[1] for memory in memories if memory))
            time.sleep(0.5)
        assert running.returncode == 0, (folder / "log").read_text()[-3000:]
    return largest


@pytest.mark.slow
@pytest.mark.skipif(memory_of(os.getpid()) is None, reason="needs Linux's proportional memory")
def test_100000_files_stay_within_4_gib(tmp_path):
    random = np.random.default_rng(0)
    sources = tmp_path / "sources"
    sources.mkdir()
    for number in range(SOURCES):
        pixels = random.integers(0, 256, (12, 15, 3), np.uint8)
        Image.fromarray(pixels).resize((240, 192)).save(sources / f"{number}.jpg")
    for name, count in (("many", FILES), ("few", 60), ("new", CLASSIFIED)):
        for number in range(count):
            folder = tmp_path / name / f"class{number % CLASSES}"
            if number < CLASSES:
                folder.mkdir(parents=True)
            os.link(sources / f"{number % SOURCES}.jpg", folder / f"{number:06}.jpg")
    (tmp_path / "config.py").write_text(CONFIG.format(root=str(tmp_path / "many"), few=str(tmp_path / "few")))

    training = largest_memory(["train", "config.py", "--work-dir", "run"], tmp_path)
    saving = ["--protocols", "linear", "--save", "--out", "kept"]
    largest_memory(["evaluate", "config.py", "run/iter_30.pth", *saving], tmp_path)
    (classifier,) = (tmp_path / "kept/networks").glob("*.pth")
    predicting = largest_memory(["predict", str(classifier), "new", "--out", "new.csv"], tmp_path)

    assert len((tmp_path / "new.csv").read_text().splitlines()) == CLASSIFIED + 1
    print(f"training {training / 2**20:.0f} MiB, predictions {predicting / 2**20:.0f} MiB")
    assert 0 < training < LIMIT and 0 < predicting < LIMIT
