"""Every registered algorithm, killed and resumed or run again, ends bit for bit as an uninterrupted run."""

from itertools import product

import pytest
import torch
from killed_runs import output, run_differences, train
from methods import METHODS, STEPS, tiny_run, write_images
from recorded_runs import FALLBACK, recordable_run

from ssl_ext.engine import newest_checkpoint

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available(), reason="bit for bit on the CPU; run with CUDA_VISIBLE_DEVICES="
)
LAST = f"iter_{STEPS}.pth"
# Killed within an epoch, and between two: 2 and 3 steps of two epochs of 3 have been taken.
CUTS = (2, 3)
# test_captured_step.py resumes every method, without a kill. On two processes: an EMA copy in evaluation
# mode; clusters and a queue; a bank; frozen prototypes.
QUICK = {("AMix", 2, 2), ("MixMoCo-clusters", 2, 3), ("PIRL-jigsaw", 2, 2), ("SwAV", 2, 3), ("TriBYOL", 1, 3)}
QUICK |= {("AMixC", 1, 2), ("ODC", 1, 2), ("MoCo", 1, 3), ("TriMix-epoch", 1, 2)}
REPEATED = {"AMixC", "TriMix"}


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "images.npz"
    write_images(path)
    return path


@pytest.fixture(scope="session")
def whole(images, tmp_path_factory):
    """Folders of uninterrupted runs, each made once."""
    folders = {}

    def folder(case, world):
        if (case, world) not in folders:
            path = folders[case, world] = tmp_path_factory.mktemp("whole")
            assert train(tiny_run(case, images, world=world), path, world=world) == [0] * world, output(path)
        return folders[case, world]

    return folder


def matrix():
    """Every algorithm, on one process and on two, killed within an epoch and between two; most are slow.

    On eight processes of two images only within an epoch.
    """
    for case, (world, step) in product(METHODS, [*product((1, 2), CUTS), (8, CUTS[0])]):
        quick = (case, world, step) in QUICK
        yield pytest.param(case, world, step, marks=() if quick else pytest.mark.slow)


@pytest.mark.parametrize(("case", "world", "step"), matrix())
def test_killed_and_resumed(case, world, step, images, whole, tmp_path):
    config = tiny_run(case, images, world=world)
    killed = train(config, tmp_path, world=world, hooks=[dict(type="KillHook", step=step)])
    assert killed == [-9] * world, output(tmp_path)
    assert newest_checkpoint(tmp_path).name == f"iter_{step}.pth"
    assert train(config, tmp_path, world=world, resume="auto") == [0] * world, output(tmp_path)
    assert len(torch.load(tmp_path / "rank0.pt")["steps"]) == STEPS - step
    assert run_differences(whole(case, world), tmp_path, LAST, world=world) == []


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in METHODS if case not in FALLBACK])
def test_a_recorded_run_is_killed_and_resumed(case, images, tmp_path):
    """Killed while steps are replayed, within an epoch; the resumed run records them again."""
    config = recordable_run(case, images, every=5, captured_step="dry")
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    assert train(config, whole) == [0], output(whole)
    assert train(config, killed, hooks=[dict(type="KillHook", step=12)]) == [-9], output(killed)
    assert newest_checkpoint(killed).name == "iter_10.pth"
    assert train(config, killed, resume="auto") == [0], output(killed)
    assert len(torch.load(killed / "rank0.pt")["steps"]) == 11
    assert run_differences(whole, killed, "iter_21.pth") == []


def repeated():
    return [pytest.param(case, marks=() if case in REPEATED else pytest.mark.slow) for case in METHODS]


@pytest.mark.parametrize("case", repeated())
def test_a_deterministic_run_repeats_itself(case, images, tmp_path):
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        assert train(tiny_run(case, images), folder, deterministic=True) == [0], output(folder)
    assert run_differences(tmp_path / "one", tmp_path / "two", LAST) == []
