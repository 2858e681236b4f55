import logging
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader

from ssl_ext import files
from ssl_ext.engine import read_checkpoint, write_checkpoint
from ssl_ext.errors import UserError
from ssl_ext.files import replacing


class Touch:
    """Unpickling this creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def test_round_trip_of_everything_a_run_stores(tmp_path):
    history = HistoryBuffer()
    history.update(1.5)
    history.update(2.5, 3)
    hub = dict(log_scalars={"train/loss": history}, runtime_info=dict(eta=np.float64(2.0)), resumed_keys={})
    write_checkpoint(dict(state_dict=dict(w=torch.ones(3)), message_hub=hub, step=7), tmp_path / "a.pth")
    loaded = read_checkpoint(tmp_path / "a.pth")
    assert torch.equal(loaded["state_dict"]["w"], torch.ones(3))
    assert loaded["step"] == 7
    restored = loaded["message_hub"]["log_scalars"]["train/loss"]
    assert restored.current() == 2.5
    assert restored.mean() == pytest.approx((1.5 + 2.5) / 4)
    assert hub["log_scalars"]["train/loss"] is history


def test_a_pickle_with_code_is_refused_on_every_path(tmp_path):
    marker = tmp_path / "marker"
    torch.save(dict(state_dict=Touch(marker)), tmp_path / "evil.pth")
    (tmp_path / "raw.pth").write_bytes(pickle.dumps(Touch(marker)))
    for name in ("evil.pth", "raw.pth"):
        with pytest.raises(UserError, match="rejected|damaged|not a readable"):
            read_checkpoint(tmp_path / name)
        with pytest.raises(UserError):
            CheckpointLoader.load_checkpoint(str(tmp_path / name))
    assert not marker.exists()


def test_getattr_gadget_is_refused(tmp_path):
    class Gadget:
        def __reduce__(self):
            return getattr, (torch.Tensor, "numpy")

    torch.save(Gadget(), tmp_path / "gadget.pth")
    with pytest.raises(UserError, match="rejected"):
        read_checkpoint(tmp_path / "gadget.pth")


@pytest.mark.parametrize("content", [b"", b"some text, not a checkpoint", None])
def test_damaged_files_are_named(tmp_path, content):
    path = tmp_path / "bad.pth"
    if content is None:
        torch.save(dict(w=torch.randn(1000)), path)
        content = path.read_bytes()[:700]
    path.write_bytes(content)
    with pytest.raises(UserError, match="bad.pth"):
        read_checkpoint(path)


def test_the_log_names_the_backend_that_loads_a_file(tmp_path, caplog):
    torch.save(dict(w=torch.zeros(1)), tmp_path / "a.pth")
    logger = logging.getLogger("a run")
    logger.setLevel(logging.INFO)
    CheckpointLoader.load_checkpoint(str(tmp_path / "a.pth"), logger=logger)
    assert caplog.messages == [f"Loads checkpoint by local backend from path: {tmp_path / 'a.pth'}"]


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere.pth"):
        read_checkpoint(tmp_path / "nowhere.pth")


def test_failed_write_keeps_the_old_file_and_leaves_no_litter(tmp_path):
    path = tmp_path / "a.pth"
    write_checkpoint(dict(step=1), path)

    with pytest.raises(UserError, match="could not be written: disk full"), replacing(path) as file:
        file.write(b"half")
        raise OSError("disk full")
    assert read_checkpoint(path)["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.pth"]


def test_content_and_folder_are_on_disk_before_and_after_the_rename(tmp_path, monkeypatch):
    done, fsync, replace = [], os.fsync, os.replace

    def synced(handle):
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        if path.is_dir():
            done.append("folder")
        else:
            # Nothing may wait in Python's buffer.
            done.append(read_checkpoint(path)["step"])
        fsync(handle)

    def replaced(*paths):
        done.append("rename")
        replace(*paths)

    monkeypatch.setattr(files.os, "fsync", synced)
    monkeypatch.setattr(files.os, "replace", replaced)
    write_checkpoint(dict(step=1), tmp_path / "a.pth")
    assert done == [1, "rename", "folder"]


def test_a_file_may_be_read_by_whom_others_of_the_user_may(tmp_path):
    write_checkpoint({}, tmp_path / "a.pth")
    (tmp_path / "plain").touch()
    assert (tmp_path / "a.pth").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_kill_in_the_middle_of_a_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.pth"
    write_checkpoint(dict(step=1), path)
    code = (
        "import os, signal, sys\n"
        "from ssl_ext.files import replacing\n"
        "with replacing(sys.argv[1]) as file:\n"
        "    file.write(b'x' * 100_000); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert killed.returncode == -9
    assert read_checkpoint(path)["step"] == 1
