"""Steps and epochs of the runner, bare loops and pairs of methods; times are not tested."""

import copy
import sys
from pathlib import Path

import pytest
import torch
from benchmarks import epoch, step
from benchmarks.phases import PHASES, share_outside
from benchmarks.workload import bare_steps, training_config
from mmengine.optim import OptimWrapper

from ssl_ext.apis import build_model, load_config
from ssl_ext.engine import TrainLogHook
from ssl_ext.errors import UserError
from ssl_ext.models import JaccardMoCo, SimCLR

sys.path.append(str(Path(__file__).parents[1] / "engine"))
from methods import tiny_run  # noqa: E402

SMALL = dict(batch_size=4, size=8, steps=2, pairs=5)


@pytest.fixture
def runner_steps(monkeypatch):
    """Record for every step of a runner ``channels_last`` of a convolution and activation checkpointing."""
    seen = []
    real = TrainLogHook.after_train_iter

    def spy(self, runner, *args, **kwargs):
        last = runner.model.backbone.conv1.weight.is_contiguous(memory_format=torch.channels_last)
        seen.append((last, bool(runner.cfg.get("activation_checkpointing"))))
        return real(self, runner, *args, **kwargs)

    monkeypatch.setattr(TrainLogHook, "after_train_iter", spy)
    return seen


def test_step_alternates_the_real_runner_and_the_bare_loop(tiny_config, runner_steps, monkeypatch, capsys):
    bare = []
    real = step.bare_steps

    def spy(*args):
        call = real(*args)
        return lambda: (bare.append(len(runner_steps)), call())

    monkeypatch.setattr(step, "bare_steps", spy)
    before = copy.deepcopy(tiny_config.to_dict())
    result = step.measure_runner(tiny_config, **SMALL)
    assert set(result.seconds) == {step.BARE, step.RUNNER} and result.reference == step.RUNNER
    assert (result.items, result.unit) == (8, "images")
    # One warm-up and five timed rounds of two steps each.
    assert bare == [0, 2, 4, 6, 8, 10] and len(runner_steps) == 12
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


def test_mixed_precision_is_refused(tiny_config):
    tiny_config.optim_wrapper.type = "AmpOptimWrapper"
    with pytest.raises(UserError, match="optim_wrapper.type is 'AmpOptimWrapper'"):
        training_config(tiny_config, None)


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
    result = step.measure_twins(jaccard_config, tiny_config, **SMALL)
    assert list(result.seconds) == ["JaccardMoCo", "SimCLR"] and result.reference == "JaccardMoCo"
    assert [name for name, _ in calls] == (["JaccardMoCo"] * 2 + ["SimCLR"] * 2) * 6
    first, last = calls[0][1], calls[-1][1]
    assert len(first) == 2 and first[0].shape == (4, 3, 8, 8)
    assert all(torch.equal(one, other) for one, other in zip(first, last, strict=True))


def test_mixing_is_compared_with_ready_mixtures(tiny_config):
    result = step.measure_mixing(load_config(tiny_run("AMix", "none")), **SMALL)
    assert list(result.seconds) == ["AMix", step.READY] and result.reference == "AMix"
    with pytest.raises(UserError, match="model.type is 'TriMix'; it must be a classifier that learns to mix"):
        step.measure_mixing(tiny_config, **SMALL)


def test_bare_steps_update_the_ema_networks(jaccard_config):
    jaccard_config.model.data_preprocessor = dict(type="BaseDataPreprocessor")
    model = build_model(jaccard_config).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    weight, ema = model.neck.projector1.fc0.weight, model.key_network.neck.projector1.fc0.weight
    start = weight.detach().clone()
    bare_steps(model, optimizer, list(torch.randn(2, 6, 3, 8, 8)), steps=1)()
    assert not torch.equal(weight, start)
    torch.testing.assert_close(ema, (start + weight) / 2)  # momentum 0.5


def test_tool_compares_a_step_of_the_runner(run_tool, tiny_config_file):
    arguments = ("--batch-size", 4, "--size", 8, "--steps", 1, "--stem", "imagenet")
    shown, figures = run_tool("step", "--config", tiny_config_file, *arguments)
    for expected in (step.BARE, step.RUNNER, "imagenet stem", "torch ", "at most 1.08×"):
        assert expected in shown, expected
    assert figures["reference"] == step.RUNNER and figures["items"] == 4


def test_tool_compares_a_method_with_its_twin(run_tool, tiny_config, jaccard_config, tmp_path, monkeypatch):
    types = {name: [load_config(path).model.type for path in pair] for name, pair in step.TWINS.items()}
    assert types == {"jaccard-simclr": ["JaccardSimCLR", "SimCLR"], "jaccard-moco": ["JaccardMoCo", "MoCo"]}
    # Tiny networks replace their ResNet-50, which is slow.
    tiny_config.model.update(type="MoCo", queue_size=7, head=dict(type="MoCoHead"))
    paths = [tmp_path / "jaccard.py", tmp_path / "plain.py"]
    for config, path in zip((jaccard_config, tiny_config), paths, strict=True):
        config.dump(path)
    monkeypatch.setitem(step.TWINS, "jaccard-moco", paths)
    shown, figures = run_tool(
        *("step", "--method", "jaccard-moco", "--batch-size", 4, "--size", 8, "--steps", 1)
    )
    assert "batch 4, 8 px, jaccard-moco" in shown and "at most 1.05×" in shown
    assert "A step of JaccardMoCo takes " in shown and "the time of one of MoCo; " in shown
    assert {name: len(times) for name, times in figures["seconds"].items()} == dict(JaccardMoCo=5, MoCo=5)


def test_tool_shows_epochs_of_variants_that_differ_in_one_setting(
    run_tool, runner_steps, tiny_config, tmp_path
):
    tiny_config.channels_last = True
    tiny_config.dump(tmp_path / "tiny.py")
    small = ("--batch-size", 4, "--size", 8, "--steps", 2, "--images", 100)
    options = ("--variants", "contiguous", "checkpointed", "--cfg-options", "train_cfg.max_epochs=9")
    shown, figures = run_tool("epoch", "--config", tmp_path / "tiny.py", *small, *options)
    # One warm-up and five timed rounds of two steps each, in turn; then one more epoch of each.
    assert runner_steps == ([(True, False)] * 2 + [(False, False)] * 2 + [(True, True)] * 2) * 7
    for words in ("milliseconds per step", "outside %", "9 epochs of 100 images would take"):
        assert words in shown, words
    assert list(figures["seconds"]) == [epoch.SHIPPED, "contiguous", "checkpointed"]
    assert figures["max_epochs"] == 9 and figures["items"] == 8
    for seconds in figures["phases"].values():
        assert tuple(seconds) == PHASES and min(seconds.values()) >= 0 and 0 < share_outside(seconds) < 1
