"""Evaluation, report and export that are killed while they write: whole files, and a rerun completes them."""

import itertools
import json
import os
import random
import shutil
import signal
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import forked

from ssl_ext.apis import evaluate, export
from ssl_ext.apis.report import report
from ssl_ext.config.networks import random_network
from ssl_ext.engine import write_checkpoint
from ssl_ext.evaluation import ResultRow, write_results

# Half of a file is written, all of it is, or it has just replaced its predecessor.
PLACES = ("half", "written", "renamed")
STATUS = {signal.SIGKILL: -9, signal.SIGTERM: -15, signal.SIGINT: 130}
CPU = torch.device("cpu")


def stop_at(number, place, sent):
    """Let this process receive a signal at a place of the ``number``-th file that it writes (from 0)."""
    written, fsync, replace = itertools.count(), os.fsync, os.replace

    # It is ignored in the background of a shell.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def die():
        os.kill(os.getpid(), sent)

    def half(handle):
        status = os.fstat(handle)
        if stat.S_ISREG(status.st_mode) and next(written) == number:
            os.ftruncate(handle, status.st_size // 2)
            die()
        fsync(handle)

    def rename(*paths):
        mine = next(written) == number
        if mine and place == "written":
            die()
        replace(*paths)
        if mine:
            die()

    if place == "half":
        os.fsync = half
    else:
        os.replace = rename


class Tool:
    """Files that a call writes over those of an earlier call, and how many it writes."""

    def __init__(self, folder, first, second, read=Path.read_bytes):
        self.folder, self.second, self.read = folder, second, read
        self.out = folder / "out"
        folder.mkdir(exist_ok=True)
        first()  # here, so that the forked processes need no imports
        self.old = self.content()
        shutil.copytree(self.out, folder / "old")
        counted = folder / "counted"

        def count():
            replace = os.replace

            def counting(*paths):
                replace(*paths)
                with open(counted, "a") as file:
                    file.write("x")

            os.replace = counting
            second()

        assert self.run(count) == 0, (folder / "log").read_text()
        self.new, self.writes = self.content(), len(counted.read_text())
        changed = [name for name, content in self.new.items() if self.old.get(name) != content]
        assert 0 < len(changed) <= self.writes  # each is written by way of a temporary file

    def run(self, work):
        (status,) = forked(1, work, self.folder / "log")
        return status

    def content(self):
        """All files by name, hidden ones left out."""
        paths = [path for path in self.out.rglob("*") if path.is_file() and not path.name.startswith(".")]
        return {str(path.relative_to(self.out)): self.read(path) for path in paths}

    def kill(self, number, place, sent):
        """Kill the second call at a place; the files that are there then."""
        shutil.rmtree(self.out)
        shutil.copytree(self.folder / "old", self.out)

        def work():
            stop_at(number, place, sent)
            self.second()

        assert self.run(work) == STATUS[sent], (self.folder / "log").read_text()
        if sent == signal.SIGINT:
            assert not [path for path in self.out.rglob(".*") if path.is_file() and path.name != ".lock"]
        return self.content()

    def kills(self, count):
        """``count`` of all kills, seeded, of which the first is in the middle of the last file."""
        every = list(itertools.product(range(self.writes), PLACES, STATUS))
        first = (self.writes - 1, "half", signal.SIGKILL)
        every.remove(first)
        return [first, *random.Random(0).sample(every, min(count - 1, len(every)))]

    def check(self, count, whole):
        """Kill and run again; ``whole`` tells if the found content of a file is complete."""
        for kill in self.kills(count):
            found = self.kill(*kill)
            assert set(found) <= set(self.new), kill
            for name, content in found.items():
                assert whole(name, content), (kill, name)
            assert self.run(self.second) == 0, (self.folder / "log").read_text()
            assert self.content() == self.new, kill


def read_evaluation(path):
    """Rows of a result file without times; arrays of another file, or the shape of features (with times)."""
    if path.name == "results.json":
        found = json.loads(path.read_text())
        for row in found:
            del row["cost"], row["source"]["features"]
        return frozenset(json.dumps(row) for row in found)
    with np.load(path) as arrays:
        if path.parent.name == "features":
            return arrays["features"].shape
        return {name: arrays[name].tolist() for name in arrays}


@pytest.fixture
def checkpoint(tiny_config, tmp_path):
    def write(seed):
        path = tmp_path / f"run{seed}" / "epoch_2.pth"
        path.parent.mkdir()
        state = random_network(tiny_config, seed=seed, device=CPU).state_dict()
        write_checkpoint(dict(meta=dict(cfg=tiny_config.pretty_text), state_dict=state), path)
        return path

    return write


def check_evaluation(tiny_config, path, folder, count):
    asked = dict(out_dir=folder / "out", device="cpu", protocols=["knn"])
    tool = Tool(
        folder,
        lambda: evaluate(tiny_config, path, seeds=[1], **asked),
        lambda: evaluate(tiny_config, path, labels_per_class=[1], draws=2, baselines=["untrained"], **asked),
        read_evaluation,
    )

    def whole(name, content):
        old, new = tool.old.get(name), tool.new[name]
        if name == "results.json":
            return old <= content <= old | new
        if name == "subsets.npz":
            return content.items() <= new.items()
        return content == new

    tool.check(count, whole)


def check_report(folder, count):
    def write(*accuracies):
        rows = [
            ResultRow("SimCLR", "knn", {"acc": acc}, {"acc": acc}, {}, {}, seed)
            for seed, acc in enumerate(accuracies)
        ]
        write_results(folder / "results" / "results.json", rows)
        report([folder / "results"], out_dir=folder / "out")

    tool = Tool(folder, lambda: write(0.5), lambda: write(0.5, 0.75))
    tool.check(count, lambda name, content: content in (tool.old[name], tool.new[name]))


def check_export(folder, one, other, to, count):
    def write(path):
        export(path, to, out=folder / "out" / "backbone", overwrite=True, image_size=16)

    tool = Tool(folder, lambda: write(one), lambda: write(other))
    tool.check(count, lambda name, content: content in (tool.old[name], tool.new[name]))


def test_a_killed_evaluation_keeps_its_rows(tiny_config, checkpoint, tmp_path):
    check_evaluation(tiny_config, checkpoint(7), tmp_path, 3)


def test_a_killed_report_leaves_whole_files(tmp_path):
    check_report(tmp_path, 4)


def test_a_killed_export_leaves_a_whole_file(checkpoint, tmp_path):
    check_export(tmp_path, checkpoint(7), checkpoint(8), "safetensors", 4)


@pytest.mark.slow
def test_every_kill_while_writing(tiny_config, checkpoint, tmp_path):
    one, other = checkpoint(7), checkpoint(8)
    check_evaluation(tiny_config, one, tmp_path / "evaluation", 1000)
    check_report(tmp_path / "report", 1000)
    for to in ("torchvision", "onnx"):
        check_export(tmp_path / to, one, other, to, 1000)
