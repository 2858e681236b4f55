"""Scaling of a step on two processes, and the projection to many GPUs."""

import os

import pytest
import torch
from benchmarks import projection, scaling
from benchmarks.options import CONFIGS
from benchmarks.scaling import ARRANGEMENTS
from benchmarks.workload import training_config

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available(), reason="forked processes cannot use a GPU; run with CUDA_VISIBLE_DEVICES="
)
PAGE = CONFIGS.parent / "tools" / "scaling.md"


@pytest.fixture
def quick_start(monkeypatch):
    """Fork processes: imports in new interpreters take seconds."""
    monkeypatch.setattr(scaling, "START_METHOD", "fork")


def run_scaling(run_tool, config_file):
    small = ("--batch-size", 4, "--size", 8, "--steps", 1)
    return run_tool("scaling", "--config", config_file, *small)


def test_the_tool_measures_every_arrangement(run_tool, quick_start, tiny_config_file):
    shown, figures = run_scaling(run_tool, tiny_config_file)
    for expected in ("two, DDP", "2 × 2", "efficiency, strong", "collectives per step and sends"):
        assert expected in shown, expected
    assert {name: len(times) for name, times in figures["seconds"].items()} == dict.fromkeys(ARRANGEMENTS, 5)
    seconds = figures["seconds"]
    ratios = sorted(a / b / 2 for a, b in zip(seconds[scaling.ALONE], seconds[scaling.STRONG], strict=True))
    assert figures["efficiency"]["strong"] == pytest.approx([ratios[2], ratios[0], ratios[4]])
    # TriMix on two processes: half of each all-gather, all of each all-reduce and broadcast.
    share = dict(all_gather=0.5, all_reduce=1, broadcast=1)
    sent = sum(row["calls"] * row["size"] * share[row["kind"]] for row in figures["traffic"])
    assert figures["sent_bytes"] == sent > 4 * 2**10
    assert (figures["threads"], figures["backend"], figures["batch_size"]) == (1, "gloo", 4)


@pytest.mark.slow
def test_the_tool_in_new_interpreters(run_tool, tiny_config_file):
    run_scaling(run_tool, tiny_config_file)


@pytest.mark.parametrize("failure", ["error", "killed"])
def test_a_process_that_fails_ends_the_other(quick_start, tiny_config, monkeypatch, failure):
    def fail(self, steps):
        if torch.distributed.get_rank() == 1:
            if failure == "error":
                raise ValueError("rank 1 cannot")
            os.kill(os.getpid(), 9)
        torch.distributed.all_reduce(torch.ones(1))  # waits for the other process

    monkeypatch.setattr(scaling.ScaledStep, "count", fail)
    with pytest.raises(Exception, match="rank 1 cannot|SIGKILL|Connection"):
        scaling.measure(tiny_config, batch_size=4, size=8, steps=1, pairs=5, timeout=20)


def test_a_step_alone_sends_nothing(quick_start, tiny_config, monkeypatch):
    def check(self, steps):
        with scaling.CollectiveCounter() as counter:
            self.seconds(4, 1, False)
            assert not counter.calls
            self.seconds(4, 1, True)
        assert counter.calls
        raise ValueError("checked")

    monkeypatch.setattr(scaling.ScaledStep, "count", check)
    with pytest.raises(Exception, match="checked"):
        scaling.measure(tiny_config, batch_size=4, size=8, steps=1, pairs=5, timeout=20)


def test_the_wait_is_latency_and_bytes():
    one, none = {("all_reduce", 80_000_000): 2.0}, {}
    sent = projection.Sent(8, 10**12, {("all_gather", 0): 3.0}, one)
    # Five calls of 10 + 3 · 5 µs; an all-reduce sends 7/4 of its bytes at 40 GB/s.
    assert sent.wait == pytest.approx(5 * 25e-6 + 2 * 7 / 4 * 80e6 / 40e9)
    assert projection.Sent(512, 1, none, none).wait == 0


@pytest.mark.parametrize("method", ["swav"])
def test_the_page_is_up_to_date(method):
    path = projection.configs_of([method])[method]
    line = f"| {' | '.join(projection.row(method, training_config(str(path), None)))} |"
    assert line in PAGE.read_text(encoding="utf-8").splitlines()


def test_the_page_has_every_method(run_tool, tmp_path, monkeypatch):
    monkeypatch.setattr(projection, "row", lambda name, config: [name])
    monkeypatch.setattr(projection, "training_config", lambda path, stem: None)
    _, figures = run_tool("scaling", "--page", tmp_path / "page.md")
    written, kept = (path.read_text(encoding="utf-8") for path in (tmp_path / "page.md", PAGE))
    assert written[: written.index("| ---")] == kept[: kept.index("| ---")]
    names = [line.split(" | ")[0].strip("| ") for line in kept.splitlines() if line.startswith("| ")]
    assert [name for (name,) in figures["rows"]] == names[2:]
