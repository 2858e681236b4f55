"""What the benchmarks do and write; nothing here looks at a time."""

import copy
import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from mmengine.optim import OptimWrapper

from ssl_ext.apis import build_model, load_config
from ssl_ext.benchmarks import step_command
from ssl_ext.benchmarks.methods import benchmark_methods
from ssl_ext.benchmarks.step import BARE, RUNNER, bare_steps, benchmark_step
from ssl_ext.benchmarks.step_command import METHODS
from ssl_ext.engine import ThroughputHook, TrainLogHook
from ssl_ext.errors import UserError
from ssl_ext.models import JaccardMoCo, SimCLR

TOOL = Path(__file__).parents[1] / "tools" / "benchmark.py"
SMALL = dict(batch_size=4, size=8, steps=2, pairs=5)


def test_step_alternates_the_real_runner_and_the_bare_loop(tiny_config, monkeypatch, capsys):
    calls = []
    for hook in (ThroughputHook, TrainLogHook):
        real = hook.after_train_iter

        def spy(self, runner, *args, real=real, **kwargs):
            calls.append((type(self).__name__, runner.iter))
            return real(self, runner, *args, **kwargs)

        monkeypatch.setattr(hook, "after_train_iter", spy)
    before, threads = copy.deepcopy(tiny_config.to_dict()), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        result = benchmark_step(tiny_config, threads=1, **SMALL)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)

    assert set(result.seconds) == {BARE, RUNNER} and result.reference == RUNNER
    assert all(len(times) == 5 for times in result.seconds.values())
    assert (result.items, result.unit, result.threads) == (8, "images", 1)
    # One round of warm-up and five that count, two steps each, through the hooks.
    assert sorted(calls) == sorted((h, i) for h in ("ThroughputHook", "TrainLogHook") for i in range(12))
    assert tiny_config.to_dict() == before
    assert not capsys.readouterr().out


@pytest.mark.parametrize("model_type", ["BarlowTwins", "TriMix"])
def test_the_bare_loop_takes_the_same_steps_as_a_model_in_training(tiny_config, model_type):
    tiny_config.model.update(type=model_type, head=dict(type=f"{model_type}Head"))
    tiny_config.model.data_preprocessor = dict(type="BaseDataPreprocessor")
    torch.manual_seed(0)
    model = build_model(tiny_config).train()
    other, views = copy.deepcopy(model), list(torch.randn(2, 6, 3, 8, 8))
    torch.manual_seed(1)
    bare_steps(model, torch.optim.Adam(model.parameters()), views, steps=2)()
    torch.manual_seed(1)
    optim_wrapper = OptimWrapper(torch.optim.Adam(other.parameters()))
    for _ in range(2):
        other.train_step(dict(inputs=views), optim_wrapper)
    for (name, value), expected in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(value, expected), name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(stem="vgg"), "stem is 'vgg'; allowed are imagenet, cifar"),
        (dict(steps=0), "at least 1, got 4, 8, 0"),
        (dict(threads=0), "at least 1, got 4, 8, 2, 0"),
        (dict(batch_size=1), "batch_size is 1"),
        (dict(pairs=2), "pairs must be at least 5"),
    ],
)
def test_bad_settings_are_refused(tiny_config, settings, message):
    with pytest.raises(ValueError, match=message):
        benchmark_step(tiny_config, **{**SMALL, **settings})


def test_mixed_precision_is_refused(tiny_config):
    tiny_config.optim_wrapper.type = "AmpOptimWrapper"
    with pytest.raises(UserError, match="optim_wrapper.type is 'AmpOptimWrapper'"):
        benchmark_step(tiny_config, **SMALL)


@pytest.fixture
def jaccard_config(tiny_config):
    config = copy.deepcopy(tiny_config)
    config.model.neck.type = "BiProjector"
    config.model.update(type="JaccardMoCo", queue_size=7, momentum=0.5, head=dict(type="JaccardHead"))
    return config


def test_methods_alternate_on_the_same_views(tiny_config, jaccard_config, monkeypatch):
    tiny_config.model.update(type="SimCLR", head=dict(type="SimCLRHead"))
    calls = []
    for method in (SimCLR, JaccardMoCo):
        real = method.loss

        def spy(self, views, data_samples=None, real=real):
            calls.append((type(self).__name__, views))
            return real(self, views, data_samples)

        monkeypatch.setattr(method, "loss", spy)
    result = benchmark_methods(jaccard_config, tiny_config, threads=1, **SMALL)
    assert list(result.seconds) == ["JaccardMoCo", "SimCLR"] and result.reference == "JaccardMoCo"
    assert (result.items, result.unit, result.threads) == (8, "images", 1)
    assert [name for name, _ in calls] == (["JaccardMoCo"] * 2 + ["SimCLR"] * 2) * 6
    first, last = calls[0][1], calls[-1][1]
    assert len(first) == 2 and first[0].shape == (4, 3, 8, 8)
    assert all(torch.equal(one, other) for one, other in zip(first, last, strict=True))


def test_a_method_is_not_compared_with_itself(tiny_config):
    with pytest.raises(UserError, match="Both configs have model.type='TriMix'"):
        benchmark_methods(tiny_config, tiny_config, **SMALL)


def test_bare_steps_move_the_ema_networks(jaccard_config):
    jaccard_config.model.data_preprocessor = dict(type="BaseDataPreprocessor")
    model = build_model(jaccard_config).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    weight, follower = model.neck.projector1.fc0.weight, model.key_network.neck.projector1.fc0.weight
    start = weight.detach().clone()
    bare_steps(model, optimizer, list(torch.randn(2, 6, 3, 8, 8)), steps=1)()
    assert not torch.equal(weight, start)
    torch.testing.assert_close(follower, (start + weight) / 2)  # momentum 0.5


def run_tool(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [str(TOOL), *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "160")
    runpy.run_path(str(TOOL), run_name="__main__")


def test_tool_prints_a_table_and_writes_the_figures(tiny_config_file, tmp_path, monkeypatch, capsys):
    small = ("--batch-size", 4, "--size", 8, "--pairs", 5)
    step = ("--config", tiny_config_file, "--steps", 1, "--stem", "imagenet")
    with pytest.warns(UserWarning, match="ImageNet stem"):
        run_tool(monkeypatch, "step", *small, *step, "--json", tmp_path / "a" / "step.json")
    shown = capsys.readouterr().out
    for expected in (BARE, RUNNER, "imagenet stem", "peak resident memory", "torch ", "at most 1.08×"):
        assert expected in shown, expected
    run_tool(monkeypatch, "augment", *small, "--json", tmp_path / "augment.json")
    assert "ssl_ext batched" in capsys.readouterr().out
    run_tool(monkeypatch, "augment", "--batch-size", 2, "--pairs", 5, "--sequence", "nov")
    shown = capsys.readouterr().out
    assert "batch 2, 28 px, nov" in shown and "torchvision PIL" in shown and "mmpretrain Mul" not in shown

    for path, items, reference in (
        (tmp_path / "a" / "step.json", 4, RUNNER),
        (tmp_path / "augment.json", 8, "mmpretrain MultiView"),
    ):
        figures = json.loads(path.read_text())
        assert (figures["benchmark"], figures["items"]) == (path.stem, items)
        assert figures["reference"] == reference
        assert figures["settings"]["batch_size"] == 4
        assert figures["versions"]["torch"] in figures["environment"]
        assert figures["peak_resident_bytes"] > 2**20
        for name, times in figures["seconds"].items():
            assert len(times) == 5
            ratios = sorted(a / b for a, b in zip(figures["seconds"][reference], times, strict=True))
            assert figures["speedup"][name] == pytest.approx([ratios[2], ratios[0], ratios[4]])


def test_tool_compares_a_method_with_its_twin(tiny_config, jaccard_config, tmp_path, monkeypatch, capsys):
    methods = dict(METHODS)
    monkeypatch.setattr(step_command, "METHODS", methods)
    types = {name: [load_config(path).model.type for path in pair] for name, pair in methods.items()}
    assert types == {"jaccard-simclr": ["JaccardSimCLR", "SimCLR"], "jaccard-moco": ["JaccardMoCo", "MoCo"]}
    # Their ResNet-50 is slow to test: two tiny networks take the place.
    tiny_config.model.update(type="MoCo", queue_size=7, head=dict(type="MoCoHead"))
    methods["jaccard-moco"] = [tmp_path / "jaccard.py", tmp_path / "plain.py"]
    for config, path in zip((jaccard_config, tiny_config), methods["jaccard-moco"], strict=True):
        config.dump(path)
    small = ("--batch-size", 4, "--size", 8, "--steps", 1)
    run_tool(monkeypatch, "step", "--method", "jaccard-moco", *small, "--json", tmp_path / "step.json")
    shown = capsys.readouterr().out
    assert "batch 4, 8 px, jaccard-moco" in shown and "at most 1.05×" in shown
    assert "A step of JaccardMoCo takes " in shown and "the time of one of MoCo; " in shown
    figures = json.loads((tmp_path / "step.json").read_text())
    assert figures["settings"]["method"] == "jaccard-moco" and figures["reference"] == "JaccardMoCo"
    assert {name: len(times) for name, times in figures["seconds"].items()} == dict(JaccardMoCo=5, MoCo=5)


def test_tool_names_the_methods_it_knows(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run_tool(monkeypatch, "step", "--method", "jaccard")
    assert "--method is 'jaccard'; allowed are jaccard-simclr, jaccard-moco, amix." in capsys.readouterr().err


def test_tool_names_the_sequences_it_knows(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run_tool(monkeypatch, "augment", "--sequence", "novel")
    error = capsys.readouterr().err
    assert "--sequence is 'novel'; allowed are simclr, simclr-without-blur, nat, short, nov, grey." in error


def test_tool_errors_are_one_sentence(monkeypatch, capsys):
    with pytest.raises(SystemExit) as error:
        run_tool(monkeypatch, "augment", "--pairs", 2, "--batch-size", 2, "--size", 8)
    assert error.value.code == 2
    assert capsys.readouterr().err == (
        "error: benchmark augment: pairs must be at least 5 and warmup at least 1, got 2 and 2\n"
    )
