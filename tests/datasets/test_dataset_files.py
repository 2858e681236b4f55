import multiprocessing
import pickle
import time

import numpy as np
import pytest

from ssl_ext.datasets import files


def test_missing_file_names_path_switch_and_the_way_by_hand(tmp_path):
    message = str(files.missing_file(tmp_path / "a.npz", "Set", "put it there"))
    assert str(tmp_path / "a.npz") in message
    assert "train_dataloader.dataset.download" in message
    assert message.endswith("put it there")
    assert "download" not in str(files.missing_file("a", "Set", "put it", can_download=False))


def test_verify_files(tmp_path):
    (tmp_path / "good").write_bytes(b"abc")
    md5 = "900150983cd24fb0d6963f7d28e17f72"
    files.verify_files(tmp_path, [("good", md5)], "Set", "…")
    with pytest.raises(ValueError, match="good: the MD5"):
        files.verify_files(tmp_path, [("good", "0" * 32)], "Set", "…")
    with pytest.raises(FileNotFoundError, match="bad"):
        files.verify_files(tmp_path, [("good", md5), ("bad", md5)], "Set", "…")


def test_a_failed_download_names_url_and_cause(tmp_path):
    with (
        pytest.raises(ConnectionError, match=r"Set: .*http://x .*no route.*by hand it is"),
        files.downloading(tmp_path / "new", "Set", "http://x", "by hand it is"),
    ):
        raise OSError("no route")


def _append(folder, count):
    for _ in range(count):
        with files.locked(folder):
            text = (folder / "log").read_text()
            time.sleep(0.001)
            (folder / "log").write_text(text + "x")


def test_the_lock_admits_one_process_at_a_time(tmp_path):
    (tmp_path / "log").write_text("")
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_append, args=(tmp_path, 30)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert (tmp_path / "log").read_text() == "x" * 90


def test_save_array_is_all_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "a.npy"
    files.save_array(path, np.arange(3))
    assert files.load_array(path).tolist() == [0, 1, 2]

    def stop(*_):
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "fsync", stop)
    with pytest.raises(ValueError, match="could not be written: disk full"):
        files.save_array(path, np.arange(4))
    assert files.load_array(path).tolist() == [0, 1, 2]
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.npy"]


class Bomb:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


def test_no_object_is_ever_unpickled(tmp_path):
    marker = tmp_path / "marker"
    array = np.array([Bomb(marker)], dtype=object)
    np.savez(tmp_path / "a.npz", train_images=array)
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    (tmp_path / "b.npz").write_bytes(pickle.dumps(Bomb(marker)))
    for read in (
        lambda: files.npz_array(tmp_path / "a.npz", "train_images"),
        lambda: files.load_array(tmp_path / "a.npy"),
        lambda: files.npz_names(tmp_path / "b.npz"),
        lambda: files.load_array(tmp_path / "b.npz"),
    ):
        with pytest.raises(ValueError, match=r"[ab]\.np[yz]: cannot be read"):
            read()
    assert not marker.exists()


def test_a_truncated_archive_is_named(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).integers(0, 255, 5000))
    whole = path.read_bytes()
    path.write_bytes(whole[:-50])
    with pytest.raises(ValueError, match="a.npz: cannot be read"):
        files.npz_names(path)
    broken = bytearray(whole)
    broken[2000:2010] = b"\0" * 10
    path.write_bytes(broken)
    with pytest.raises(ValueError, match="a.npz: cannot be read"):
        files.npz_array(path, "x")
