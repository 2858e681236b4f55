"""The benchmarks of kNN and of the linear probe do the work they name; nothing looks at a time."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch

from ssl_ext.benchmarks import knn, linear

TOOL = Path(__file__).parents[1] / "tools" / "benchmark.py"


def test_both_searches_see_the_same_neighbours(monkeypatch):
    found = []
    search = torch.topk

    def spy(similarity, k, dim):
        result = search(similarity, k, dim=dim)
        found.append(result.indices)
        return result

    monkeypatch.setattr(torch, "topk", spy)
    result = knn.benchmark_knn(queries=600, bank=50, dim=8, k=7)
    assert result.reference == knn.OURS and (result.items, result.unit) == (600, "queries")
    assert all(len(times) == 5 for times in result.seconds.values())
    chunks = 2  # of 512 queries
    assert len(found) == 2 * chunks * (1 + 5)
    for bare, ours in zip(found[:chunks], found[chunks : 2 * chunks], strict=True):
        assert torch.equal(bare, ours) and bare.shape[1] == 7


def test_probe_and_bare_loop_take_the_same_steps_on_all_rows(monkeypatch):
    steps = []
    real = torch.optim.SGD.step

    def spy(self, *args):
        (group,) = self.param_groups
        steps.append([group[key] for key in ("lr", "momentum", "weight_decay")])
        return real(self, *args)

    monkeypatch.setattr(torch.optim.SGD, "step", spy)
    before = torch.get_num_threads()
    result = linear.benchmark_linear(rows=40, dim=4, epochs=3, batch_size=16, threads=2)
    assert torch.get_num_threads() == before and result.threads == 2 and result.items == 120
    # One round of warm-up and five that count, of both; three batches in each of three epochs.
    assert steps == [[1e-3, 0.9, 1e-6]] * (2 * 6 * 9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: knn.benchmark_knn(bank=5, k=6), "k at most the bank"),
        (lambda: knn.benchmark_knn(dim=0), "at least 1"),
        (lambda: linear.benchmark_linear(epochs=0), "at least 1"),
    ],
)
def test_bad_settings(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_tool(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("COLUMNS", "160")
    for what, arguments, said in (
        ("knn", "--queries 20 --bank 30 --dim 4 --k 3", "the target is at most 1.2×"),
        ("linear", "--rows 30 --dim 4 --epochs 2", "2 epochs on 30 x 4 features, batch 256"),
    ):
        words = [str(TOOL), what, *arguments.split(), "--json", str(tmp_path / f"{what}.json")]
        monkeypatch.setattr(sys, "argv", words)
        runpy.run_path(str(TOOL), run_name="__main__")
        assert said in capsys.readouterr().out
        figures = json.loads((tmp_path / f"{what}.json").read_text())
        assert figures["benchmark"] == what and figures["settings"]["dim"] == 4
        assert figures["versions"]["torch"] in figures["environment"]
