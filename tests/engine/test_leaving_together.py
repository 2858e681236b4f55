"""Several processes: on a signal they save once and exit together; if one dies, the others end."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from killed_runs import output, run_differences, train
from methods import STEPS, tiny_run, write_images
from mmengine.dist import get_rank
from mmengine.hooks import Hook

from ssl_ext.engine import newest_checkpoint, read_checkpoint
from ssl_ext.registry import HOOKS

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available(), reason="bit for bit on the CPU; run with CUDA_VISIBLE_DEVICES="
)
TOOLS = Path(__file__).parents[2] / "tools"
WORLD = 2
SECONDS = 60  # far less than the collectives' timeout of 30 minutes

# Processes of a launcher import this file for the hooks.
IMPORTS = dict(imports=["test_leaving_together"])


@HOOKS.register_module()
class SignalOneHook(Hook):
    """One process receives a signal before a step."""

    def __init__(self, step, number, rank=1):
        self.step, self.number, self.rank = step, number, rank

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 == self.step and get_rank() == self.rank:
            os.kill(os.getpid(), self.number)


@HOOKS.register_module()
class RaiseHook(Hook):
    """One process fails before a step."""

    def __init__(self, step, rank=1):
        self.step, self.rank = step, rank

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 == self.step and get_rank() == self.rank:
            raise RuntimeError("the scanner is on fire")


@HOOKS.register_module()
class SlowHook(Hook):
    """Slow down every step; write a file after the first."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        Path(runner.work_dir, f"running{get_rank()}").touch()
        time.sleep(0.1)


@pytest.fixture
def config(tmp_path):
    write_images(tmp_path / "images.npz")
    config = tiny_run("MoCo", tmp_path / "images.npz", world=WORLD)
    config.default_hooks.checkpoint = dict(type="CheckpointHook", interval=1)
    return config


def test_a_signal_to_one_process_stops_all_after_the_same_step(config, tmp_path):
    assert train(config, tmp_path / "whole", world=WORLD) == [0, 0], output(tmp_path / "whole")
    cut = tmp_path / "cut"
    hook = dict(type="SignalOneHook", step=2, number=int(signal.SIGTERM))
    assert train(config, cut, world=WORLD, hooks=[hook]) == [143, 143], output(cut)
    assert [path.name for path in cut.glob("*.pth")] == ["interrupted.pth"]
    assert output(cut).count("SIGTERM received: saved") == 1
    assert "Resume with --resume" in output(cut)
    step = read_checkpoint(cut / "interrupted.pth")["meta"]["iter"]
    assert f"after step {step} of {STEPS}" in output(cut)
    assert train(config, cut, world=WORLD, resume="auto") == [0, 0], output(cut)
    assert run_differences(tmp_path / "whole", cut, "epoch_2.pth", world=WORLD) == []


def test_a_process_that_fails_takes_the_other_along(config, tmp_path):
    started = time.monotonic()
    statuses = train(config, tmp_path / "run", world=WORLD, hooks=[dict(type="RaiseHook", step=3)])
    assert time.monotonic() - started < SECONDS
    assert statuses[1] == 1 and statuses[0] not in (0, 143)
    assert "RuntimeError: the scanner is on fire" in output(tmp_path / "run")


@pytest.mark.parametrize("images", [43, 45])
def test_uneven_last_batches_do_not_hang(config, tmp_path, images):
    """Odd numbers of images, an incomplete last batch, validation images that do not divide evenly."""
    import numpy as np

    arrays = dict(np.load(tmp_path / "images.npz"))
    arrays.update(x_train=arrays["x_train"][:images], y_train=arrays["y_train"][:images])
    arrays.update({key: arrays[key][:19] for key in ("x_val", "y_val", "x_test", "y_test")})
    np.savez(tmp_path / "images.npz", **arrays)
    config.train_dataloader.drop_last = False
    config.custom_hooks.append(dict(type="ValidationLossHook", interval=1))
    classifier = tiny_run("AMix", tmp_path / "images.npz", world=WORLD)
    classifier.train_dataloader.drop_last = False
    classifier.custom_hooks.append(dict(type="ClassifierEvaluationHook"))
    for name, run in (("moco", config), ("amix", classifier)):
        assert train(run, tmp_path / name, world=WORLD) == [0, 0], output(tmp_path / name)
        for rank in range(WORLD):
            sizes = [len(step["indices"]) for step in torch.load(tmp_path / name / f"rank{rank}.pt")["steps"]]
            assert sizes == [8, 8, (images + 1) // 2 - 16] * 2
    # Counts of the processes add up to that of one process: a multiple of 1/19.
    epochs = json.loads((tmp_path / "amix" / "accuracies.json").read_text())["epochs"]
    assert (19 * epochs[-1]["accuracy"]) % 1 == pytest.approx(0, abs=1e-9)


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return str(sock.getsockname()[1])


def environment(**more):
    paths = [*map(str, Path(__file__).parents[:2]), os.environ.get("PYTHONPATH", "")]
    return dict(
        os.environ,
        PYTHON=sys.executable,
        PORT=free_port(),
        PYTHONPATH=os.pathsep.join(paths),
        CUDA_VISIBLE_DEVICES="",
        OMP_NUM_THREADS="1",
        **more,
    )


def launch(config, tmp_path, *hooks, resume=False):
    config = config.copy()
    config.custom_imports = IMPORTS
    config.custom_hooks = [*config.custom_hooks, *hooks]
    config.dump(tmp_path / "tiny.py")
    command = ["bash", TOOLS / "dist_train.sh", tmp_path / "tiny.py", str(WORLD), "--work-dir"]
    command += [tmp_path / "run", *(["--resume"] if resume else [])]
    return subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_the_launcher_is_told_to_stop(config, tmp_path, number):
    """SIGTERM to the launcher alone; SIGUSR1, as from Slurm, to every process of the job step."""
    config.train_cfg.max_epochs = 1000
    process = launch(config, tmp_path, dict(type="SlowHook"))
    signs = [tmp_path / "run" / f"running{rank}" for rank in range(WORLD)]
    while not all(sign.exists() for sign in signs):
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.1)
    if number == signal.SIGUSR1:
        listing = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=True
        )
        for worker in map(int, listing.stdout.split()):
            os.kill(worker, number)
    process.send_signal(number)
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 143, text
    assert text.count(f"{number.name} received: saved") == 1, text
    newest = newest_checkpoint(tmp_path / "run")
    assert newest.name == "interrupted.pth"
    assert not list((tmp_path / "run").glob(".*.pth.*"))
    # Resume.
    step = read_checkpoint(newest)["meta"]["iter"]
    config.train_cfg.max_epochs = -(-step // 3) + 1
    process = launch(config, tmp_path, resume=True)
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 0, text
    assert f"resumed epoch: {step // 3}, iter: {step}" in text


def test_the_launcher_ends_like_its_process(tmp_path):
    for name, command in dict(killed="kill -9 $$", left="exit 143", failed="exit 3").items():
        script = tmp_path / f"{name}.sh"
        script.write_text(f'[ "$RANK" = 1 ] || exec sleep 30\n{command}\n')
        words = [sys.executable, "-m", "ssl_ext.cli.launch", f"--master_port={free_port()}", "--no-python"]
        words += ["--nproc_per_node=2", "sh", script]
        ended = subprocess.run(words, env=environment(), capture_output=True, text=True)
        assert ended.returncode == dict(killed=137, left=143, failed=1)[name], ended.stderr
        assert "Root Cause" in ended.stderr


@pytest.mark.slow
def test_a_failing_process_ends_the_launcher_with_its_own_error(config, tmp_path):
    process = launch(config, tmp_path, dict(type="RaiseHook", step=3))
    text, _ = process.communicate(timeout=300)
    assert process.returncode not in (0, None)
    assert "RuntimeError: the scanner is on fire" in text
    # Torchrun reports that process as the root cause, not the one that lost its peer.
    cause = text[text.index("Root Cause") :]
    assert "rank      : 1" in cause


def fake(folder, name, script):
    path = folder / name
    path.write_text(f"#!/usr/bin/env bash\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def slurm(tmp_path):
    """Fake Slurm commands that record their calls; ``sbatch`` runs the job as Slurm would."""
    folder = tmp_path / "bin"
    folder.mkdir()
    calls = tmp_path / "calls.txt"
    fake(folder, "scontrol", f'echo "scontrol $*" >> {calls}; echo node0')
    fake(folder, "sbatch", f'echo "sbatch $*" >> {calls}; echo "Submitted batch job 7"')
    return folder, calls


def in_job(slurm, job, *arguments, srun="exit 0"):
    """Run the script as a batch job whose ``srun`` is a few lines of bash; returns the process."""
    folder, calls = slurm
    fake(folder, "srun", f'echo "srun $*" | tr "\\n" " " >> {calls}; echo >> {calls}\n{srun}')
    paths = os.pathsep.join([str(folder), os.environ["PATH"]])
    return subprocess.Popen(
        ["bash", TOOLS / "slurm_train.sh", *arguments],
        env=environment(PATH=paths, **job),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


ARGUMENTS = ("gpu", "my-job", "config.py", "--work-dir", "my run")
JOB = dict(SLURM_JOB_ID="7", SSL_EXT_BATCH="1")


def test_outside_a_job_the_slurm_script_submits_itself(slurm):
    process = in_job(slurm, {}, *ARGUMENTS)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "Submitted batch job 7" in text
    (call,) = slurm[1].read_text().splitlines()
    for part in (
        "--requeue",
        "--signal=B:USR1@",
        "--open-mode=append",
        "--partition=gpu",
        "--job-name=my-job",
    ):
        assert part in call
    assert call.endswith("slurm_train.sh gpu my-job config.py --work-dir my run")


def test_a_job_trains_and_resumes(slurm):
    process = in_job(slurm, JOB, *ARGUMENTS)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 0, text
    (call,) = slurm[1].read_text().splitlines()
    assert call.startswith("srun ") and call.rstrip().endswith("--resume auto --work-dir my run")


def test_a_job_that_fails_keeps_its_status_and_is_not_requeued(slurm):
    process = in_job(slurm, JOB, *ARGUMENTS, srun="exit 3")
    process.communicate(timeout=60)
    assert process.returncode == 3
    assert "requeue" not in slurm[1].read_text()


@pytest.mark.parametrize("finished", [False, True])
def test_a_job_whose_time_is_up_saves_and_is_requeued(slurm, finished):
    """srun forwards the signal; a run that has just finished is not requeued."""
    status = 0 if finished else 1
    process = in_job(
        slurm,
        JOB,
        *ARGUMENTS,
        srun=f"trap 'echo saved; exit {status}' USR1; echo up; sleep 60 >/dev/null 2>&1 & wait",
    )
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGUSR1)
    text, _ = process.communicate(timeout=50)
    assert "saved" in text and process.returncode == 0, text
    calls = slurm[1].read_text().splitlines()
    assert ("scontrol requeue 7" in calls) == (not finished)


def test_a_cancelled_job_passes_the_signal_on_and_is_not_requeued(slurm):
    process = in_job(
        slurm,
        JOB,
        *ARGUMENTS,
        srun="trap 'echo saved; exit 1' TERM; echo up; sleep 60 >/dev/null 2>&1 & wait",
    )
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGTERM)
    text, _ = process.communicate(timeout=50)
    assert "saved" in text and process.returncode != 0
    assert "requeue" not in slurm[1].read_text()
