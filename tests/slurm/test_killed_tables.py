"""A table that is killed many times, on local workers and in Slurm, ends like one that never was."""

import copy
import subprocess
from pathlib import Path

import pytest
import torch
from methods import BACKBONE, WIDTH
from tiny_table import COMMAND, Killer, content, repeated_steps, write_table

from ssl_ext.apis.tables import read_plan

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        torch.cuda.is_available(), reason="bit for bit on the CPU; run with CUDA_VISIBLE_DEVICES="
    ),
]
KILLS = 33
SECONDS = 3600
SBATCH = "--gres=none --cpus-per-task=1 --time=4 --signal=B:USR1@30"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


@pytest.fixture
def file(place, peer_config):
    """The table's file."""

    def small(name):
        config = peer_config(name)
        config.model.backbone = copy.deepcopy(BACKBONE)
        config.model.neck.in_channels = 2 * WIDTH
        return config

    return write_table(place, small)


@pytest.fixture
def whole(place, file):
    """Weights and scores of the table without kills."""
    out = place / "whole"
    subprocess.run([*COMMAND, file, "--workers", "2", "--out", out], check=True, timeout=SECONDS)
    return content(out)


def same(a, b):
    if torch.is_tensor(a):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return a == b


def in_slurm(*command):
    """Runs a command of Slurm on the array task that a process belongs to; True if it worked."""

    def call(number):
        words = Path(f"/proc/{number}/environ").read_text().split("\0")
        environ = dict(word.split("=", 1) for word in words if "=" in word)
        task = f"{environ['SLURM_ARRAY_JOB_ID']}_{environ['SLURM_ARRAY_TASK_ID']}"
        return subprocess.run([*command, task]).returncode == 0

    return call


@pytest.mark.parametrize("engine", ["workers", "slurm"])
def test_thirty_kills(engine, place, file, whole, request, record_property):
    out = place / engine
    words = [*COMMAND, str(file), "--out", str(out)]
    if engine == "workers":
        killer = Killer(out, [*words, "--workers", "2"], KILLS)
    else:
        request.getfixturevalue("cluster")
        more = dict(cancel=in_slurm("scancel"), requeue=in_slurm("scontrol", "requeue"))
        targets = ("worker", "training", "cancel", "requeue", "driver")
        killer = Killer(
            out, [*words, "--slurm", "3", f"--sbatch={SBATCH}"], KILLS, targets=targets, more=more, pause=40
        )
    assert killer.run(SECONDS) == 0
    record_property("kills", dict(killer.killed))
    assert sum(killer.killed.values()) == KILLS
    assert {place for _, place in killer.killed} == {"step", "save", "evaluation"}
    now = content(out)
    assert len(read_plan(out / "tiny").cells) == 24
    assert same(whole, now)
    # A training saves after SIGTERM; only killed trainings repeat steps.
    assert all(steps <= epoch for steps, epoch in repeated_steps(out))
