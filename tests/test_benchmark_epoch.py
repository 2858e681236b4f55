"""Epochs with one setting changed, and photographs from files; nothing here looks at a time."""

import copy
import json
import runpy
import sys
from pathlib import Path

import pytest
import torch

from ssl_ext.benchmarks import epoch, files
from ssl_ext.benchmarks.epoch import SHIPPED, benchmark_epoch
from ssl_ext.benchmarks.peers_profile import PHASES
from ssl_ext.engine import TrainLogHook
from ssl_ext.errors import UserError

TOOL = Path(__file__).parents[1] / "tools" / "benchmark.py"
SMALL = dict(batch_size=4, size=8, steps=2)
VARIANTS = ("contiguous", "checkpointed")


@pytest.fixture
def steps_taken(monkeypatch):
    """Of every step: memory layout of a convolution, and whether stages are computed again."""
    seen = []
    real = TrainLogHook.after_train_iter

    def spy(self, runner, *args, **kwargs):
        weight = runner.model.backbone.conv1.weight
        last = weight.is_contiguous(memory_format=torch.channels_last)
        seen.append((last, bool(runner.cfg.get("activation_checkpointing"))))
        return real(self, runner, *args, **kwargs)

    monkeypatch.setattr(TrainLogHook, "after_train_iter", spy)
    return seen


def test_variants_differ_in_one_setting_and_take_turns(tiny_config, steps_taken):
    tiny_config.channels_last = True
    before = copy.deepcopy(tiny_config.to_dict())
    result = benchmark_epoch(tiny_config, variants=VARIANTS, threads=1, **SMALL)
    assert tiny_config.to_dict() == before
    # One round of warm-up and five that count, two steps each, in turn; then an epoch of each apart.
    turn = [(True, False)] * 2 + [(False, False)] * 2 + [(True, True)] * 2
    assert steps_taken == turn * 7
    assert list(result.comparison.seconds) == [SHIPPED, *VARIANTS] and result.comparison.items == 8
    assert result.max_epochs == tiny_config.train_cfg.max_epochs
    for seconds in result.phases.values():
        assert tuple(seconds) == PHASES and min(seconds.values()) >= 0
        assert 0 < epoch.share_outside(seconds) < 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(variants=["float8"]), "--variants has 'float8'; allowed are contiguous, checkpointed, "),
        (dict(pairs=4), "pairs must be at least 5 and workers at least 0, got 4 and 0"),
        (dict(workers=-1), "got 5 and -1"),
        (dict(stem="vgg"), "stem is 'vgg'"),
    ],
)
def test_bad_settings_are_refused(tiny_config, settings, words):
    with pytest.raises(ValueError, match=words):
        benchmark_epoch(tiny_config, **{**SMALL, **settings})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("variant", ["bf16", "resident"])
def test_what_needs_a_gpu_says_so(tiny_config, variant):
    with pytest.raises(UserError, match=f"--variants has '{variant}', which needs a GPU"):
        benchmark_epoch(tiny_config, variants=[variant], **SMALL)


@pytest.mark.parametrize("make", [files._ours, files._mmpretrain])
@pytest.mark.parametrize("workers", [0, 1])
def test_every_photograph_becomes_two_normalised_views(tmp_path, make, workers):
    files.write_photographs(tmp_path / "photographs", 5)
    loading = dict(batch_size=2, num_workers=workers, persistent_workers=workers > 0)
    way = make(str(tmp_path), 48, loading)
    batches = [way.views(batch)["inputs"] for batch in way.loader]
    assert [len(views[0]) for views in batches] == [2, 2, 1]
    for views in batches:
        first, second = views
        assert first.shape[1:] == second.shape[1:] == (3, 48, 48) and first.dtype == torch.float32
        assert not torch.equal(first, second)
        assert first.mean().abs() < 1 and 0.1 < first.std() < 2
    way.loader._iterator = None


def run_tool(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [str(TOOL), *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "160")
    runpy.run_path(str(TOOL), run_name="__main__")


def test_tool_prints_and_writes_epochs(tiny_config_file, tmp_path, monkeypatch, capsys):
    small = ("--batch-size", 4, "--size", 8, "--steps", 1, "--images", 100)
    file = tmp_path / "epoch.json"
    options = ("--cfg-options", "train_cfg.max_epochs=9")
    run_tool(monkeypatch, "epoch", "--config", tiny_config_file, *small, "--json", file, *options)
    shown = capsys.readouterr().out
    for words in (SHIPPED, "milliseconds per step", "outside %", "9 epochs of 100 images would take"):
        assert words in shown, words
    figures = json.loads(file.read_text())
    assert figures["benchmark"] == "epoch" and figures["max_epochs"] == 9
    assert set(figures["phases"][SHIPPED]) == set(PHASES)


def test_tool_prints_and_writes_files(tmp_path, monkeypatch, capsys):
    small = ("--batch-size", 2, "--steps", 1, "--size", 32, "--workers", 0)
    run_tool(monkeypatch, "files", *small, "--json", tmp_path / "files.json")
    shown = capsys.readouterr().out
    assert "files: batch 2, views of 32 px, workers: 0" in shown and "500 x 375 px" in shown
    figures = json.loads((tmp_path / "files.json").read_text())
    assert figures["items"] == 2 and len(figures["seconds"]) == 3
    with pytest.raises(SystemExit):
        run_tool(monkeypatch, "files", "--workers", "-1")
    assert "workers at least 0, got 64, 2, 224, None and -1" in capsys.readouterr().err
