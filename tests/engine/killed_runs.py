"""Training in forked processes that can be killed, and comparison of runs that should be equal."""

import os
import signal
import sys
import traceback
from pathlib import Path

import torch
import torch.distributed as dist
from mmengine.config import config as mmengine_config
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer, MMLogger

from ssl_ext.apis import pretrain
from ssl_ext.engine import read_checkpoint
from ssl_ext.engine.hooks.random_state import random_state
from ssl_ext.errors import run_tool
from ssl_ext.registry import HOOKS

# Entries of a checkpoint that depend on time and place, not on training.
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
    """Kill this process with SIGKILL after ``step`` steps."""

    def __init__(self, step):
        self.step = step

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


@HOOKS.register_module()
class RecordHook(Hook):
    """Write per-process records: images and losses of each step, and the final state."""

    priority = "LOWEST"

    def __init__(self, folder):
        self.folder, self.steps = folder, []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        losses = {name: float(value) for name, value in outputs.items()}
        self.steps.append(dict(indices=data_batch["indices"].tolist(), losses=losses))

    def after_train(self, runner):
        model = getattr(runner.model, "module", runner.model)
        record = dict(steps=self.steps, model=model.state_dict(), random=random_state())
        torch.save(record, Path(self.folder) / f"rank{get_rank()}.pt")


def forked(world, work, log):
    """Run ``work`` in ``world`` forked processes of one gloo group; return exit statuses (−9: killed).

    Forked, because imports in a new interpreter take seconds.
    """
    rendezvous = Path(log).with_suffix(".rendezvous")
    rendezvous.unlink(missing_ok=True)
    children = []
    for rank in range(world):
        child = os.fork()
        if child == 0:
            _be_a_process(rank, world, work, log, rendezvous)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def _be_a_process(rank, world, work, log, rendezvous):
    status = 1
    try:
        stream = open(log, "ab", buffering=0)  # noqa: SIM115
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        sys.stdout = sys.stderr = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
        if world > 1:
            os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(rank))
            dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world)
        # Remove loggers of earlier runs, as a new process has none.
        MMLogger._instance_dict.clear()
        # Formatting the config, done for every checkpoint, takes longer than the training here.
        mmengine_config.FormatCode = lambda text, **_: (text, False)
        run_tool(work)
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


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
    """Paths of the entries in which two nested containers differ, except time-dependent entries."""
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
    """Differences between the ends of a resumed and an uninterrupted run."""
    one, two = (read_checkpoint(folder / last) for folder in (whole, resumed))
    found = differences(one, two, "checkpoint")
    for rank in range(world):
        one, two = (torch.load(folder / f"rank{rank}.pt") for folder in (whole, resumed))
        one["steps"] = one["steps"][len(one["steps"]) - len(two["steps"]) :]
        found += differences(one, two, f"rank{rank}")
    return found
