"""Training in forked processes that can be killed, and differences between two runs."""

import os
import signal
from pathlib import Path

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from processes import forked

from ssl_ext.apis import pretrain
from ssl_ext.engine import read_checkpoint
from ssl_ext.engine.hooks.random_state import random_state
from ssl_ext.registry import HOOKS

# Entries of a checkpoint about time, speed and place, which may differ.
ASIDE = {
    "time",
    "data_time",
    "images_per_second",
    "peak_memory_mib",
    "eta",
    "cfg",
    "experiment_name",
    "last_ckpt",
}
ASIDE |= {"epoch_seconds", "training_seconds", "mmengine_version"}


@HOOKS.register_module()
class KillHook(Hook):
    """Kills its process, as ``kill -9`` does, when ``step`` steps have been taken."""

    def __init__(self, step):
        self.step = step

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


@HOOKS.register_module()
class RecordHook(Hook):
    """Writes what only its process knows: images and losses of its steps, the state at the end."""

    priority = "LOWEST"

    def __init__(self, folder):
        self.folder, self.steps = folder, []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        losses = {name: float(value) for name, value in outputs.items()}
        # A detection batch has no indices.
        samples = data_batch.get("data_samples", ())
        indices = [s["image_id"] for s in samples] if samples else data_batch["indices"].tolist()
        self.steps.append(dict(indices=indices, losses=losses))

    def after_train(self, runner):
        model = getattr(runner.model, "module", runner.model)
        record = dict(steps=self.steps, model=model.state_dict(), random=random_state())
        torch.save(record, Path(self.folder) / f"rank{get_rank()}.pt")


def train(config, work_dir, *, world=1, hooks=(), **options):
    """Pretrain in forked processes with more hooks, recording; returns exit statuses."""
    work_dir.mkdir(exist_ok=True)
    config = config.copy()
    config.custom_hooks = [*config.custom_hooks, *hooks, dict(type="RecordHook", folder=str(work_dir))]
    log = work_dir / "output.txt"
    return forked(world, lambda: pretrain(config, work_dir=work_dir, **options), log)


def output(work_dir):
    return (work_dir / "output.txt").read_text()


def differences(a, b, path=""):
    """Paths of the entries in which two nested containers differ; entries about time are not compared."""
    if torch.is_tensor(a) and torch.is_tensor(b):
        same = a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
        return [] if same else [path]
    if isinstance(a, dict) and isinstance(b, dict):
        keys = [key for key in {**a, **b} if str(key).removeprefix("train/") not in ASIDE]
        missing = [f"{path}.{key}" for key in keys if (key in a) != (key in b)]
        return missing + [
            found
            for key in keys
            if key in a and key in b
            for found in differences(a[key], b[key], f"{path}.{key}")
        ]
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        if len(a) != len(b):
            return [path]
        return [
            found
            for i, (x, y) in enumerate(zip(a, b, strict=True))
            for found in differences(x, y, f"{path}.{i}")
        ]
    if isinstance(a, HistoryBuffer) and isinstance(b, HistoryBuffer):
        return differences(*([x.tolist() for x in part.data] for part in (a, b)), path)
    return [] if type(a) is type(b) and (a == b or a != a and b != b) else [path]


def run_differences(whole, resumed, last, *, world=1):
    """Differences between the final states of a resumed run and an uninterrupted one."""
    one, two = (read_checkpoint(folder / last) for folder in (whole, resumed))
    found = differences(one, two, "checkpoint")
    for rank in range(world):
        one, two = (torch.load(folder / f"rank{rank}.pt") for folder in (whole, resumed))
        one["steps"] = one["steps"][len(one["steps"]) - len(two["steps"]) :]
        found += differences(one, two, f"rank{rank}")
    return found
