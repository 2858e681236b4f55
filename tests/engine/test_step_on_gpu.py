"""The training step of every method on a GPU: no host syncs, and a CUDA graph equals the plain step.

Failures of all methods are collected and reported together, and written one by one to the file that
``STEP_REPORT`` names, for a run that is cut short. Run with ``pytest -m "slow or not slow"``.
"""

import os
import time
import traceback
import warnings

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import pytest
import torch
from killed_runs import differences
from methods import METHODS, write_images
from mmengine.registry import init_default_scope
from recorded_runs import checkpoints_of, recordable_run

from ssl_ext.apis import pretrain
from ssl_ext.capture import Replayed
from ssl_ext.engine.hooks.model_step import ModelStepHook
from ssl_ext.engine.loop import StepLoop

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    pytest.mark.slow,
]
ON_HOST = {"MixMoCo-clusters"}  # solves graph cuts on the host
BF16 = {"optim_wrapper.type": "BFloat16OptimWrapper"}


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


def cause(error):
    """Innermost error with the end of its traceback."""
    while error.__cause__ is not None:
        error = error.__cause__
    where = "".join(traceback.format_tb(error.__traceback__)[-2:])
    return f"{type(error).__name__}: {str(error)[:400]}\n{where}"


def note(case, text, start):
    """Append a line about a method to the report file."""
    if "STEP_REPORT" in os.environ:
        with open(os.environ["STEP_REPORT"], "a", encoding="utf-8") as file:
            file.write(f"{time.time() - start:6.1f} s  {case}: {text}\n")


def report(failures, seconds):
    """Text of the failures of all methods."""
    lines = [f"== {case}: {text}" for case, text in failures.items()]
    return "\n".join([f"{len(failures)} failed, {seconds:.0f} s", *lines])


def test_no_step_waits_for_the_gpu(images, tmp_path, monkeypatch):
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
    failures, start = {}, time.time()
    for case in sorted(set(METHODS) - ON_HOST):
        config = recordable_run(case, images, epochs=1, captured_step=False)
        config.default_hooks.checkpoint = None
        config.default_hooks.logger.interval = 50
        config.custom_hooks = [hook for hook in config.custom_hooks if hook.type != "FeatureMonitorHook"]
        config.custom_hooks.append(dict(type="ThroughputHook"))
        try:
            pretrain(config, work_dir=tmp_path / case)
        except Exception as error:
            failures[case] = cause(error)
        note(case, failures.get(case, "nothing waits"), start)
    assert not failures, report(failures, time.time() - start)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_captured_step_equals_the_plain_one(precision, images, tmp_path, monkeypatch, deterministic):
    """Whole checkpoints after 24 steps, most of them replayed; a difference is given with its size."""
    failures, start, replays = {}, time.time(), []
    original = Replayed.__call__

    def counted(replayed, key=None):
        replays.append(key in replayed.records)
        return original(replayed, key)

    monkeypatch.setattr(Replayed, "__call__", counted)
    cases = sorted(set(METHODS) - ON_HOST) if precision == "float32" else ["AMix", "BYOL", "MoCo", "TriMix"]
    for case in cases:
        config = recordable_run(case, images, epochs=8, every=12, **(BF16 if precision == "bfloat16" else {}))
        try:
            plain = checkpoints_of(config, tmp_path / f"{case}-plain", False, monkeypatch)
            replays.clear()
            captured = checkpoints_of(config, tmp_path / f"{case}-captured", True, monkeypatch)
            found = differences(plain, captured)
            if found:
                failures[case] = f"{len(found)} entries differ, {sizes(plain, captured)}: {found[:3]}"
            elif sum(replays) < 8:
                failures[case] = f"only {sum(replays)} of {len(replays)} steps were replayed"
        except Exception as error:
            failures[case] = cause(error)
        note(f"{case}, {precision}", failures.get(case, f"equal, {sum(replays)} replays"), start)
    assert not failures, report(failures, time.time() - start)


def sizes(plain, captured):
    """Largest relative differences of the weights in each checkpoint."""
    found = []
    for one, two in zip(plain, captured, strict=True):
        pairs = [
            (one["state_dict"][name].double(), two["state_dict"][name].double()) for name in one["state_dict"]
        ]
        found.append(max(float((a - b).norm() / a.norm().clamp(min=1e-12)) for a, b in pairs if a.numel()))
    return "weights by " + ", ".join(f"{value:.1e}" for value in found)
