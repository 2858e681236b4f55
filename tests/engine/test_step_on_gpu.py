"""The training step of every method on a GPU: no host syncs, a CUDA graph equals the plain step, kills.

Run with ``pytest -n 6 -m slow``.
"""

import itertools
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import pytest
import torch
from killed_runs import differences
from methods import METHODS, write_images
from mmengine.registry import init_default_scope
from recorded_runs import FALLBACK, checkpoints_of, recordable_run

from ssl_ext.apis import pretrain
from ssl_ext.capture import Replayed
from ssl_ext.engine import read_checkpoint
from ssl_ext.engine.hooks.model_step import ModelStepHook
from ssl_ext.engine.loop import StepLoop

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    pytest.mark.slow,
]
CASES = sorted(set(METHODS) - set(FALLBACK))
FLOAT32, BFLOAT16 = {}, {"optim_wrapper.type": "BFloat16OptimWrapper"}
IN_BFLOAT16 = ["AMix", "BYOL", "MoCo", "TriMix"]
KILLED = ["AMixClusters", "MoCo", "TriBYOL-alternate", "TriMix"]
KILLS = 2
TRAIN = Path(__file__).parents[2] / "tools" / "train.py"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    init_default_scope("ssl_ext")
    path = tmp_path_factory.mktemp("images") / "images.npz"
    write_images(path)
    return path


@pytest.fixture
def deterministic():
    """Deterministic kernels where available; operations without one are allowed, as steps are compared."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.deterministic = True
    torch.utils.deterministic.fill_uninitialized_memory = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False


@pytest.mark.parametrize("case", CASES)
def test_no_step_waits_for_the_gpu(case, images, tmp_path, monkeypatch):
    """The second of three steps, with its hooks, where no log line is due.

    Work between steps may wait: clusters are renewed on the host once in many steps.
    """
    original, between = StepLoop.take_step, ModelStepHook.host_step

    def take_step(loop, index, batch):
        torch.cuda.set_sync_debug_mode("error" if index == 1 else "default")
        try:
            original(loop, index, batch)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    def host_step(hook, runner, result):
        mode = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("default")
        between(hook, runner, result)
        torch.cuda.set_sync_debug_mode(mode)

    monkeypatch.setattr(StepLoop, "take_step", take_step)
    monkeypatch.setattr(ModelStepHook, "host_step", host_step)
    config = recordable_run(case, images, epochs=1, captured_step=False)
    config.default_hooks.checkpoint = None
    config.default_hooks.logger.interval = 50
    config.custom_hooks = [hook for hook in config.custom_hooks if hook.type != "FeatureMonitorHook"]
    config.custom_hooks.append(dict(type="ThroughputHook"))
    pretrain(config, work_dir=tmp_path)


def recordings():
    for case in CASES:
        yield pytest.param(case, FLOAT32, id=f"{case}-float32")
    for case in IN_BFLOAT16:
        yield pytest.param(case, BFLOAT16, id=f"{case}-bfloat16")


@pytest.mark.parametrize(("case", "precision"), recordings())
def test_a_captured_step_equals_the_plain_one(case, precision, images, tmp_path, monkeypatch, deterministic):
    """Whole checkpoints after 24 steps, most of them replayed; a difference is given with its size."""
    replays, original = [], Replayed.__call__

    def counted(replayed, key=None):
        replays.append(key in replayed.records)
        return original(replayed, key)

    monkeypatch.setattr(Replayed, "__call__", counted)
    config = recordable_run(case, images, epochs=8, every=12, **precision)
    plain = checkpoints_of(config, tmp_path / "plain", False, monkeypatch)
    replays.clear()
    captured = checkpoints_of(config, tmp_path / "captured", True, monkeypatch)
    assert differences(plain, captured) == [], sizes(plain, captured)
    assert sum(replays) >= 8, f"{sum(replays)} of {len(replays)} steps were replayed"


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_captured_run_equals_an_uninterrupted_one(case, images, tmp_path, deterministic):
    """From the first step of an epoch on; the steps after it run eagerly before they are recorded."""
    config = recordable_run(case, images, epochs=8, every=10, captured_step=True)
    pretrain(config.copy(), work_dir=tmp_path / "whole")
    pretrain(config.copy(), work_dir=tmp_path / "resumed", resume=tmp_path / "whole" / "iter_10.pth")
    whole, resumed = (read_checkpoint(tmp_path / name / "iter_24.pth") for name in ("whole", "resumed"))
    assert differences(whole, resumed) == [], sizes([whole], [resumed])


@pytest.mark.parametrize("case", KILLED)
def test_a_killed_captured_run_equals_an_uninterrupted_one(case, images, tmp_path):
    """Killed with SIGKILL by another process at any place of a step or of a checkpoint."""
    config = recordable_run(case, images, epochs=40, every=5, captured_step=True)
    config.dump(tmp_path / "config.py")

    def run(name):
        command = [sys.executable, TRAIN, tmp_path / "config.py", "--work-dir", tmp_path / name]
        command += ["--resume", "--deterministic"]
        with open(tmp_path / f"{name}.txt", "a") as log:
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    for _ in range(KILLS):
        process, before = run("killed"), steps_saved(tmp_path / "killed")
        while process.poll() is None and steps_saved(tmp_path / "killed") < before + 40:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, (tmp_path / "killed.txt").read_text()
    for name in ("killed", "whole"):
        assert run(name).wait() == 0, (tmp_path / f"{name}.txt").read_text()
    whole, killed = (read_checkpoint(tmp_path / name / "iter_120.pth") for name in ("whole", "killed"))
    assert differences(whole, killed) == [], sizes([whole], [killed])


def steps_saved(folder):
    """The newest step with a checkpoint in a folder."""
    found = (path.stem.removeprefix("iter_") for path in folder.glob("iter_*.pth"))
    return max(itertools.chain([0], map(int, found)))


def sizes(plain, captured):
    """Largest relative differences of the weights in each checkpoint."""
    found = []
    for one, two in zip(plain, captured, strict=True):
        pairs = [
            (one["state_dict"][name].double(), two["state_dict"][name].double()) for name in one["state_dict"]
        ]
        found.append(max(float((a - b).norm() / a.norm().clamp(min=1e-12)) for a, b in pairs if a.numel()))
    return "weights differ by " + ", ".join(f"{value:.1e}" for value in found)
