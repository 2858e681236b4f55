"""Workers of a table on a real Slurm: what ends them, what requeues them, and who tops them up."""

import os
import signal
import subprocess
import sys
import time

import pytest
from methods import STEPS as METHOD_STEPS
from methods import tiny_run, write_images
from small_jobs import steps_of, write_jobs
from tiny_table import parent, training

from ssl_ext.apis.tables.jobs import DONE, LOG, OPEN, RUN, RUNNING, Job, read_state
from ssl_ext.apis.tables.plan import Plan, job_folder, write_plan
from ssl_ext.apis.tables.slurm import Slurm, require_slurm
from ssl_ext.errors import UserError

pytestmark = pytest.mark.slow
STEPS = 60


@pytest.fixture
def table(cluster, tmp_path):
    """Makes a table of counting jobs and a starter for it; returns the starter and the jobs' folders."""

    def make(count=1, *arguments, steps=STEPS):
        folder = tmp_path / "tables" / "count"
        jobs = write_jobs(folder, count, steps)
        return Slurm(folder, arguments=["--cpus-per-task=1", *arguments]), jobs

    return make


def all_done(cluster, jobs, seconds=60):
    """Wait until all jobs are done; every step was taken once, and nothing is left in the queue."""
    cluster.wait(lambda: all(read_state(job).status == DONE for job in jobs), seconds)
    for job in jobs:
        steps = steps_of(job)
        assert steps == list(range(len(steps))) and len(steps) >= STEPS
    cluster.wait(lambda: not cluster.tasks())


def running(cluster, job):
    """Wait until a job takes steps; returns the array task that runs it."""
    before = len(steps_of(job))
    cluster.wait(lambda: len(steps_of(job)) > before)
    return read_state(job).slurm


def test_a_table_is_filled_and_two_drivers_do_not_double_workers(cluster, table, tmp_path):
    starter, jobs = table(4)
    code = (
        "import sys; from pathlib import Path; from ssl_ext.apis.tables.slurm import Slurm;"
        "print(Slurm(Path(sys.argv[1]), arguments=['--cpus-per-task=1']).start(2))"
    )
    drivers = [
        subprocess.Popen([sys.executable, "-c", code, starter.folder], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    assert [driver.communicate(timeout=60)[0] for driver in drivers] == [b"2\n", b"2\n"]
    assert len(cluster.tasks()) == 2
    assert starter.start(1) == 2 and starter.start(3) == 3
    assert len(cluster.tasks()) == 3
    all_done(cluster, jobs)
    assert {read_state(job).tries for job in jobs} == {1}


def test_a_worker_is_requeued_at_its_time_limit(cluster, table):
    starter, (job,) = table(1, "--time=1", "--signal=B:USR1@20", steps=600)
    starter.start(1)
    number = running(cluster, job)
    all_done(cluster, [job], 240)
    assert read_state(job).tries >= 2 and len(steps_of(job)) == 600
    assert int(cluster.job(number)["Restarts"]) >= 1


def test_a_killed_worker_is_requeued(cluster, table):
    starter, (job,) = table()
    starter.start(1)
    number = running(cluster, job)
    os.kill(parent(training(job)), signal.SIGKILL)
    all_done(cluster, [job])
    assert cluster.job(number)["Restarts"] == "1" and read_state(job).tries == 2


def test_a_cancelled_worker_saves_and_stays_away(cluster, table):
    starter, (job,) = table()
    starter.start(1)
    number = running(cluster, job)
    cluster.run("scancel", number)
    cluster.wait(lambda: not cluster.tasks())
    assert read_state(job).status == OPEN
    assert cluster.job(number)["JobState"] == "CANCELLED"
    time.sleep(7)  # a requeued job would be here again
    assert not cluster.tasks()
    starter.start(1)
    all_done(cluster, [job])


def test_a_cancelled_worker_that_was_warned_of_its_time_limit_is_not_requeued(cluster, table):
    starter, _ = table()
    starter.worker = [
        "bash",
        "-c",
        f"trap 'sleep 4; exit 143' TERM; touch {starter.folder}/up; sleep 60 & wait",
    ]
    starter.start(1)
    cluster.wait((starter.folder / "up").exists)
    (task,) = cluster.tasks()
    cluster.run("scancel", "--batch", "--signal=USR1", task)
    time.sleep(0.5)
    cluster.run("scancel", task)
    cluster.wait(lambda: not cluster.tasks())
    time.sleep(7)
    assert not cluster.tasks()


def test_jobs_leave_a_node_that_is_drained_or_fails(cluster, table):
    starter, jobs = table(2)
    try:
        cluster.run("scontrol", "update", "NodeName=127.0.0.1", "State=DRAIN", "Reason=test")
        starter.start(2)
        numbers = [running(cluster, job) for job in jobs]
        assert {cluster.job(number)["NodeList"] for number in numbers} == {"127.0.0.2"}
        cluster.run("scontrol", "update", "NodeName=127.0.0.1", "State=RESUME")
        cluster.run("scontrol", "update", "NodeName=127.0.0.2", "State=DOWN", "Reason=test")
        all_done(cluster, jobs)
        assert {cluster.job(number)["NodeList"] for number in numbers} == {"127.0.0.1"}
    finally:
        for node in ("127.0.0.1", "127.0.0.2"):
            subprocess.run(["scontrol", "update", f"NodeName={node}", "State=RESUME"], capture_output=True)


def test_a_training_on_two_nodes(cluster, tmp_path, monkeypatch):
    """More processes than GPUs of a node: tools/slurm_train.sh within the worker's job."""
    monkeypatch.setenv("GPUS_PER_NODE", "1")
    write_images(tmp_path / "images.npz")
    tiny_run("SimCLR", tmp_path / "images.npz", world=2).dump(tmp_path / "tiny.py")
    folder = tmp_path / "tables" / "two"
    run = job_folder(folder, "pretrain-two") / RUN
    command = ["ssl-ext", "train", str(tmp_path / "tiny.py"), "--work-dir", str(run), "--resume", "auto"]
    job = Job("pretrain-two", "pretrain", command, str(tmp_path), processes=2)
    plan = Plan("two", None, [], [], "", "", [], [0], [], [job.id], {job.id: 2})
    write_plan(folder, plan, {job.id: job})
    Slurm(folder, 2, arguments=["--cpus-per-task=1"]).start(1)
    cluster.wait(lambda: read_state(run.parent).status not in (OPEN, RUNNING), 300)
    log = (run.parent / LOG).read_text()
    assert read_state(run.parent).status == DONE, log
    assert "slurm_train.sh" in log and (run / f"iter_{METHOD_STEPS}.pth").exists()


def test_refusals_are_a_sentence(cluster, table, monkeypatch):
    with pytest.raises(UserError, match=r"^--slurm: sbatch refused \(.*invalid partition.*\)\.$"):
        table(1, "--partition=nowhere")[0].start(1)
    with monkeypatch.context() as without:
        without.setenv("PATH", "/nowhere")
        with pytest.raises(UserError, match="--slurm: the command 'sbatch' was not found"):
            require_slurm()
