"""A run killed at random moments, often while saving, ends as an uninterrupted run."""

import os
import random
import signal
import threading
import warnings
from collections import Counter
from pathlib import Path

import pytest
import torch
from killed_runs import forked, output, run_differences, train
from methods import STEPS, tiny_run, write_images
from mmengine.hooks import Hook

from ssl_ext import files
from ssl_ext.apis import pretrain
from ssl_ext.engine import checkpoint as checkpoint_module
from ssl_ext.engine import newest_checkpoint, read_checkpoint
from ssl_ext.registry import HOOKS

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available(), reason="bit for bit on the CPU; run with CUDA_VISIBLE_DEVICES="
)
# Where a process dies. The first four are during saving: while bytes are written, before fsync, before the
# rename, and before the old checkpoint is removed.
SAVING = ("write", "fsync", "rename", "renamed")
EPOCHS = 32


def die():
    os.kill(os.getpid(), signal.SIGKILL)


class Dying:
    """A file whose process dies when ``count`` bytes have been written to it."""

    def __init__(self, file, count):
        self.file, self.count = file, count

    def write(self, data):
        data = bytes(data)
        self.count -= len(data)
        if self.count < 0:
            self.file.write(data[: self.count])
            self.file.flush()
            die()
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)


@HOOKS.register_module()
class DyingHook(Hook):
    """Kill this process at ``place`` of the ``after``-th step, after a fraction ``share`` of it."""

    priority = "HIGH"

    def __init__(self, place, after, share):
        self.place, self.after, self.share = place, after, share

    def before_train(self, runner):
        self.last = runner.iter + self.after
        # A checkpoint is about as large as the previous one; the first has at least this many bytes.
        self.size = min((path.stat().st_size for path in Path(runner.work_dir).glob("*.pth")), default=20_000)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.last and self.place in SAVING:
            getattr(self, self.place)()

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 == self.last and self.place == "any":
            threading.Timer(0.03 * self.share, die).start()

    def write(self):
        replacing = checkpoint_module.replacing

        class Wrapped:
            def __init__(self, path):
                self.context = replacing(path)

            def __enter__(inner):
                return Dying(inner.context.__enter__(), int(0.9 * self.size * self.share))

            def __exit__(self, *error):
                return self.context.__exit__(*error)

        checkpoint_module.replacing = Wrapped

    def fsync(self):
        files.os.fsync = lambda handle: die()

    def rename(self):
        files.os.replace = lambda *paths: die()

    def renamed(self):
        replace = os.replace

        def replace_and_die(*paths):
            replace(*paths)
            if str(paths[1]).endswith(".pth"):
                die()

        files.os.replace = replace_and_die


def kill_until_done(config, folder, draws):
    """Start, kill and resume until the run is done; return the places where it died."""
    survived, newest_step = Counter(), 0
    for place, after, share in draws:
        hook = dict(type="DyingHook", place=place, after=after, share=share)
        (status,) = train(config, folder, hooks=[hook], resume="auto")
        assert status in (-9, 0), output(folder)
        if status == 0:
            break
        temporary = list(folder.glob(".*.pth.*"))
        assert len(temporary) <= 1  # those of earlier kills were removed
        if place in ("write", "fsync", "rename"):
            assert len(temporary) == 1, place
        survived[place] += 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # no damaged file is skipped
            newest = newest_checkpoint(folder)
        if newest is None:
            assert newest_step == 0
            continue
        step = read_checkpoint(newest)["meta"]["iter"]
        assert step >= newest_step
        newest_step = step
        assert len(list(folder.glob("*.pth"))) <= 3
    assert train(config, folder, resume="auto") == [0], output(folder)
    assert not list(folder.glob(".*.pth.*"))
    return survived


def draws(rng, count):
    for _ in range(count):
        place = rng.choice([*SAVING, "write", "any", "any"])
        yield place, rng.randint(1, 2), rng.random()


@pytest.fixture
def run(tmp_path):
    write_images(tmp_path / "images.npz")

    def make(case, epochs):
        config = tiny_run(case, tmp_path / "images.npz")
        config.train_cfg.max_epochs = config.param_scheduler[0].T_max = epochs
        assert train(config, tmp_path / "whole") == [0], output(tmp_path / "whole")
        return config, STEPS // 2 * epochs

    return make


def test_three_kills(run, tmp_path):
    config, steps = run("MoCo", 2)
    places = [("write", 2, 0.5), ("renamed", 1, 0), ("any", 2, 0.3)]
    survived = kill_until_done(config, tmp_path / "cut", places)
    assert survived == Counter(place for place, *_ in places)
    assert run_differences(tmp_path / "whole", tmp_path / "cut", f"iter_{steps}.pth") == []


@pytest.mark.slow
@pytest.mark.parametrize(("case", "seed"), [("AMixC", 0), ("TriMix", 1), ("SwAV", 2)])
def test_many_kills(case, seed, run, tmp_path, record_property):
    config, steps = run(case, EPOCHS)
    survived = kill_until_done(config, tmp_path / "cut", draws(random.Random(seed), 25))
    assert run_differences(tmp_path / "whole", tmp_path / "cut", f"iter_{steps}.pth") == []
    saving = sum(survived[place] for place in SAVING)
    record_property("kills", dict(survived))
    assert sum(survived.values()) >= 20 and saving >= 10, survived


def test_a_full_disk_keeps_the_old_checkpoint_and_says_so(run, tmp_path):
    config, _ = run("SimCLR", 1)
    folder = tmp_path / "full"
    assert train(config, folder, hooks=[dict(type="KillHook", step=2)]) == [-9]
    before = {path.name: path.read_bytes() for path in folder.glob("*.pth")}
    size = len(before["iter_2.pth"])

    def with_little_room():
        import resource

        # A write fails in the middle of the file, as on a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))
        pretrain(config, work_dir=folder, resume="auto")

    assert forked(1, with_little_room, folder / "output.txt") == [2]
    (line,) = [line for line in output(folder).splitlines() if line.startswith("error: ")]
    assert "iter_3.pth' could not be written: File too large" in line
    assert "Traceback" not in output(folder)
    assert {path.name: path.read_bytes() for path in folder.glob("*.pth")} == before
    assert not list(folder.glob(".*.pth.*"))
    assert train(config, folder, resume="auto") == [0], output(folder)
    assert run_differences(tmp_path / "whole", folder, "iter_3.pth") == []
