"""``tools/slurm_train.sh`` on a real Slurm of two nodes: a time limit, a preemption, the end."""

import os
import sys
import time
from pathlib import Path

import pytest
import torch
from methods import tiny_run, write_images
from mmengine.hooks import Hook
from processes import forked

from ssl_ext.apis import pretrain
from ssl_ext.engine import read_checkpoint
from ssl_ext.registry import HOOKS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        torch.cuda.is_available(), reason="bit for bit on the CPU; run with CUDA_VISIBLE_DEVICES="
    ),
]
TOOLS = Path(__file__).parents[2] / "tools"
EPOCHS, STEP_SECONDS = 40, 0.5  # 60 s; Slurm warns 30 to 60 s after the start


@HOOKS.register_module()
class SleepHook(Hook):
    """Sleep after every step."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        time.sleep(STEP_SECONDS)


def test_two_nodes_train_through_two_requeues_to_the_end(cluster, tmp_path, monkeypatch):
    write_images(tmp_path / "images.npz")
    config = tiny_run("SimCLR", tmp_path / "images.npz", world=2)
    config.train_cfg.max_epochs = config.param_scheduler[0].T_max = EPOCHS
    config.default_hooks.checkpoint = dict(type="CheckpointHook", interval=2)
    whole, cut, log = (tmp_path / name for name in ("whole", "cut", "log.txt"))
    assert forked(2, lambda: pretrain(config, work_dir=whole), tmp_path / "whole.txt") == [0, 0]

    config.custom_imports = dict(imports=["test_slurm_train"])
    config.custom_hooks.append(dict(type="SleepHook"))
    config.dump(tmp_path / "tiny.py")
    paths = os.pathsep.join(
        [str(Path(__file__).parent), str(TOOLS.parent / "tests"), os.environ.get("PYTHONPATH", "")]
    )
    for name, value in dict(
        NODES=2,
        GPUS_PER_NODE=1,
        CPUS_PER_TASK=2,
        GRACE=60,
        SBATCH_ARGS=f"--time=2 --parsable --output={log}",
        PYTHON=sys.executable,
        PYTHONPATH=paths,
    ).items():
        monkeypatch.setenv(name, str(value))
    number = cluster.run(
        "bash", TOOLS / "slurm_train.sh", "main", "tiny", tmp_path / "tiny.py", "--work-dir", cut
    )
    # The time limit.
    cluster.wait(lambda: cluster.job(number)["Restarts"] == "1", 120)
    assert " received: saved" in log.read_text()
    assert "is up: it goes back into the queue" in log.read_text()
    cluster.run("scontrol", "update", f"JobId={number}", "TimeLimit=30")
    # A preemption.
    cluster.wait(lambda: log.read_text().count("resumed epoch") == 1, 120)
    cluster.run("scontrol", "requeue", number)
    cluster.wait(lambda: cluster.job(number)["JobState"] == "COMPLETED", 240)
    assert cluster.job(number)["Restarts"] == "2"
    assert log.read_text().count("resumed epoch") == 2
    one, two = (read_checkpoint(folder / f"epoch_{EPOCHS}.pth")["state_dict"] for folder in (whole, cut))
    assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)
