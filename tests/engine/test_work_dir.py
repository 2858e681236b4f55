"""One run at a time in a work dir, none over another, and no process that outlives its parent."""

import copy
import errno
import fcntl
import os
import signal
import subprocess
import sys
import time

import pytest
from killed_runs import forked
from methods import tiny_run, write_images
from mmengine.dist import get_rank

from ssl_ext.apis import pretrain
from ssl_ext.engine.work_dir import LOCK, from_first_process, locked
from ssl_ext.errors import UserError
from ssl_ext.processes import ends_with_me

HELD = "import sys, time\nfrom ssl_ext.errors import run_tool\n"
HELD += "run_tool(lambda: (print('runs', flush=True), time.sleep(60)))"


@pytest.fixture
def config(tmp_path):
    write_images(tmp_path / "images.npz")
    config = tiny_run("SimCLR", tmp_path / "images.npz")
    config.custom_hooks = [dict(type="RandomStateHook")]
    config.default_hooks.checkpoint.max_keep_ckpts = -1
    config.train_cfg.max_epochs = 1
    return config


def saved(folder):
    return sorted(path.name for path in folder.glob("*.pth"))


def test_a_used_work_dir_is_refused_and_overwritten_on_demand(config, tmp_path):
    run = tmp_path / "run"
    longer = copy.deepcopy(config)
    longer.train_cfg.max_epochs = 2
    pretrain(copy.deepcopy(longer), work_dir=run)
    before = {path: path.read_bytes() for path in run.glob("*.pth")}
    with pytest.raises(UserError, match=r"iter_6\.pth.*--resume.*--work-dir.*--overwrite"):
        pretrain(copy.deepcopy(config), work_dir=run)
    with pytest.raises(UserError, match=r"later checkpoints.*--overwrite"):
        pretrain(copy.deepcopy(longer), work_dir=run, resume=run / "iter_2.pth")
    with pytest.raises(UserError, match="either --resume or --overwrite"):
        pretrain(copy.deepcopy(config), work_dir=run, resume=True, overwrite=True)
    with pytest.raises(UserError, match="model.head.temperature"):
        pretrain(copy.deepcopy(config), work_dir=run, overwrite=True, options={"model.head.temperature": 0})
    assert {path: path.read_bytes() for path in run.glob("*.pth")} == before
    logs = {path: path.read_text() for path in run.glob("*/*.log")}
    pretrain(copy.deepcopy(config), work_dir=run, overwrite=True)
    assert saved(run) == ["iter_1.pth", "iter_2.pth", "iter_3.pth"]
    # Curves hold the records of the second run alone, also where it logs other steps.
    assert len({path.parent for path in run.glob("*/vis_data/*.json")}) == 1
    assert not (run / LOCK).exists()
    # The log of the first run is its own, though both ran in one process and folder.
    assert {path: path.read_text() for path in logs} == logs


def test_runs_of_one_process_and_one_second_log_into_their_own_files(config, tmp_path, monkeypatch):
    from mmengine.runner import runner

    class Clock:
        localtime = time.localtime
        time = time.time
        strftime = staticmethod(lambda form, *_: time.strftime(form, time.localtime(0)))

    monkeypatch.setattr(runner, "time", Clock)
    texts = []
    for name in ("a", "b"):
        pretrain(copy.deepcopy(config), work_dir=tmp_path / name / "run")
        texts.append([path.read_text() for path in (tmp_path / "a").rglob("*.log")])
    assert texts[0] == texts[1]
    assert len(list((tmp_path / "b").rglob("*.log"))) == 1


def test_a_work_dir_in_use_is_refused_until_its_process_is_killed(config, tmp_path):
    run = tmp_path / "run"
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        with locked(run):
            # A worker that outlives the run.
            worker = os.fork()
            if worker == 0:
                time.sleep(60)
                os._exit(0)
            os.write(write, f"{worker} ".encode())
            time.sleep(60)
        os._exit(0)
    worker = int(os.read(read, 100))
    try:
        for resume in (False, True):
            with pytest.raises(UserError, match=f"in use by process {child} on .*another --work-dir"):
                pretrain(copy.deepcopy(config), work_dir=run, resume=resume)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with locked(run):
            assert (run / LOCK).read_text().split()[1] == str(os.getpid())
    finally:
        os.kill(worker, signal.SIGKILL)
    assert not (run / LOCK).exists()


def test_a_file_system_without_locks_goes_by_the_recorded_process(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    host = os.uname().nodename
    for record, refused in (
        (f"{host} 1", True),
        ("elsewhere 5", True),
        (f"{host} 4194304", False),
        ("", False),
    ):
        (tmp_path / LOCK).write_text(record)
        if refused:
            with pytest.raises(UserError, match=f"process .* on .*delete '.*{LOCK}'"), locked(tmp_path):
                pass
            (tmp_path / LOCK).unlink()
        else:
            with locked(tmp_path):
                assert (tmp_path / LOCK).read_text() == f"{host} {os.getpid()}\n"


def test_the_first_process_decides_for_all(tmp_path):
    def agree():
        told = from_first_process(lambda: f"chosen by {get_rank()}")
        (tmp_path / f"told{get_rank()}").write_text(told)

    def refuse():
        if get_rank() == 0:
            raise UserError("no such run")
        raise AssertionError("asked another process")

    assert forked(2, agree, tmp_path / "a.txt") == [0, 0]
    assert [(tmp_path / f"told{rank}").read_text() for rank in range(2)] == ["chosen by 0"] * 2
    assert forked(2, lambda: from_first_process(refuse), tmp_path / "b.txt") == [2, 2]


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells of a parent's death on Linux only")
def test_a_child_ends_with_a_parent_that_is_killed():
    read, write = os.pipe()
    parent = os.fork()
    if parent == 0:
        command = [sys.executable, "-c", HELD]
        child = subprocess.Popen(
            command, env={**os.environ, **ends_with_me(signal.SIGTERM)}, stdout=write, pass_fds=[write]
        )
        os.write(write, f"{child.pid}\n".encode())
        time.sleep(60)
        os._exit(0)
    os.close(write)
    with open(read, encoding="ascii") as lines:
        child, _ = sorted((lines.readline().strip(), lines.readline().strip()))
        os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)
        assert child.isdigit()
        # Its end of the pipe is closed when it has ended.
        assert lines.read() == ""
