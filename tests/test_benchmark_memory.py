"""What the memory benchmark counts, how it measures, and what it shows and refuses."""

import argparse
import json
import subprocess
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn

from ssl_ext.apis import build_model
from ssl_ext.benchmarks import memory, memory_step
from ssl_ext.benchmarks.memory_step import SavedForBackward, Usage, measure_step
from ssl_ext.errors import UserError


@pytest.fixture
def simsiam(tiny_config):
    """A whole SimSiam run of a very small network."""
    neck = tiny_config.model.neck
    predictor = dict(neck, in_channels=neck.out_channels, num_layers=2)
    tiny_config.model.update(type="SimSiam", predictor=predictor, head=dict(type="CosineRegressionHead"))
    return tiny_config


def usage(**changes):
    numbers = dict(kept=0, parameters=0, buffers=0, optimizer=0, libraries=0, resident=0)
    return Usage(**{**numbers, "device": None, "coupling": None, **changes})


def test_saved_bytes_in_closed_form():
    """A linear layer saves its input, a ReLU its output; weights are aside, and views share a storage."""
    layer, x = nn.Linear(3, 5), torch.randn(7, 3, requires_grad=True)
    with SavedForBackward(layer.parameters()) as saved:
        loss = layer(x).relu().sum()
    assert saved.bytes() == 4 * (7 * 3 + 7 * 5)
    with SavedForBackward() as all_saved:
        again = layer(x).relu().sum()
    assert all_saved.bytes() == saved.bytes() + 4 * 3 * 5
    with SavedForBackward() as shared:
        product = x[:2] * x[2:4]
    assert shared.bytes() == 4 * 7 * 3
    (loss + again + product.sum()).backward()
    assert saved.bytes() == 0
    with SavedForBackward() as nothing, torch.no_grad():
        layer(x)
    assert nothing.bytes() == 0


def test_gradients_are_those_without_counting():
    layer, x = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.ReLU()), torch.randn(7, 3)
    layer(x).square().sum().backward()
    expected = [p.grad.clone() for p in layer.parameters()]
    layer.zero_grad()
    with SavedForBackward():
        loss = layer(x).square().sum()
    loss.backward()
    assert all(torch.equal(p.grad, one) for p, one in zip(layer.parameters(), expected, strict=True))


def test_a_step_keeps_half_for_half_the_batch_and_less_when_stages_are_recomputed(simsiam):
    steps = dict(size=16, threads=1)
    whole = measure_step(simsiam, batch_size=32, **steps)
    halves = measure_step(simsiam, batch_size=32, parts=2, **steps)
    again = measure_step(simsiam, batch_size=32, checkpointing=True, **steps)
    assert halves.kept == pytest.approx(whole.kept / 2, rel=0.02)
    assert again.kept < 0.4 * whole.kept
    model = build_model(simsiam)
    parameters = sum(4 * p.numel() for p in model.parameters())
    for measured in (whole, halves, again):
        assert measured.parameters == parameters
        # Adam: two moments for every parameter, and its counter of steps.
        assert measured.optimizer == 2 * parameters + 4 * len(list(model.parameters()))
        assert measured.buffers == sum(buffer.nbytes for buffer in model.buffers())
        assert measured.resident >= measured.libraries > 2**20 and measured.coupling is None


def test_every_part_of_the_batch_is_seen_and_the_optimiser_steps_once(simsiam, monkeypatch):
    seen, stepped = [], []
    model = build_model(simsiam).train()
    monkeypatch.setattr(
        model, "loss", lambda views, samples: seen.append(samples["indices"].tolist()) or _sum(model)
    )
    optimizer = memory_step.build_optim_wrapper(model, simsiam.optim_wrapper)
    optimizer.optimizer.register_step_post_hook(lambda *_: stepped.append(len(seen)))
    memory_step._update(model, optimizer, 8, 8, 4)
    assert seen == [[0, 1], [2, 3], [4, 5], [6, 7]] and stepped == [4]


def _sum(model):
    return dict(loss=sum(p.sum() for p in model.parameters()))


def test_a_new_process_measures_the_same_and_not_this_one(simsiam, tmp_path):
    simsiam.dump(tmp_path / "tiny.py")
    settings = dict(config=str(tmp_path / "tiny.py"), batch_size=16, size=16, threads=1)
    ballast = torch.ones(2**26)
    measured = memory.in_new_process(settings)
    assert measured.kept == measure_step(**settings).kept
    assert measured.resident > measured.libraries > 2**27
    assert measured.resident - measured.libraries < ballast.nbytes < memory_step.peak_resident()


def test_the_tool_shows_every_way_of_taking_the_step(simsiam, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(memory, "in_new_process", lambda settings: measure_step(**settings))
    simsiam.dump(tmp_path / "tiny.py")
    parser = argparse.ArgumentParser()
    memory.add_arguments(parser)
    arguments = ["--config", str(tmp_path / "tiny.py"), "--batch-size", "16", "--size", "16"]
    settings = vars(parser.parse_args(arguments))
    figures = memory.run(Console(width=160), **settings, threads=1)
    rows = {row["way"]: row["usage"] for row in figures["rows"]}
    assert list(rows) == ["plain", "4 x 4", "recomputed"]
    assert rows["4 x 4"]["kept"] < 0.3 * rows["plain"]["kept"]
    assert rows["recomputed"]["kept"] < 0.4 * rows["plain"]["kept"]
    shown = capsys.readouterr().out
    assert "memory: batch 16, 16 px" in shown and "recomputed" in shown and "torch " in shown
    assert json.loads(json.dumps(figures)) == figures


def test_accumulation_is_left_out_where_it_is_another_update(monkeypatch):
    asked = []

    def measured(settings):
        asked.append(settings)
        return usage(coupling="the negatives are those of a batch")

    monkeypatch.setattr(memory, "in_new_process", measured)
    rows = list(memory.benchmark_memory("simclr", Path("a.py"), batch_size=16, size=8))
    assert [row.way for row in rows] == ["plain", "recomputed"]
    assert asked[1] == dict(asked[0], checkpointing=True)


def test_the_table_has_shares_of_the_plain_step():
    plain = usage(
        kept=400 << 20, parameters=1 << 20, optimizer=2 << 20, libraries=5 << 20, resident=505 << 20
    )
    again = usage(kept=100 << 20, libraries=5 << 20, resident=255 << 20)
    rows = [memory.Measured("a", "plain", plain), memory.Measured("a", "recomputed", again)]
    console = Console(width=120, record=True)
    console.print(memory.memory_table(rows, "title"))
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in console.export_text().splitlines()]
    assert ["a", "plain", "400", "1.00", "3", "500", "1.00"] in cells
    assert ["a", "recomputed", "100", "0.25", "0", "250", "0.50"] in cells


def test_methods_are_those_of_configs_that_are_there():
    assert all(path.is_file() for path in memory.configs_of(None, None).values())
    with pytest.raises(UserError, match="--methods has 'simclrr'; allowed are amix"):
        memory.configs_of(["byol", "simclrr"], None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(batch_size=0), "must be at least 1, got 0, 8"),
        (dict(batch_size=16, parts=3), "A batch of 16 has no 3 equal parts"),
        (dict(batch_size=16, stem="vgg"), "stem is 'vgg'; allowed are imagenet, cifar"),
    ],
)
def test_bad_settings_are_refused(simsiam, settings, message):
    with pytest.raises(ValueError, match=message):
        measure_step(simsiam, size=8, **settings)


def test_an_error_of_the_other_process_is_one_sentence(tmp_path, monkeypatch):
    settings = dict(config=str(tmp_path / "none.py"), batch_size=8, size=8)

    def another(command, **_):
        monkeypatch.setattr(memory_step.sys, "argv", command[4:])
        with pytest.raises(SystemExit) as error:
            memory_step.main()
        return subprocess.CompletedProcess(command, 1, "", f"a warning\n{error.value}\n")

    monkeypatch.setattr(memory.subprocess, "run", another)
    with pytest.raises(UserError, match=r"none\.py cannot be measured: Config .* does not exist\.$"):
        memory.in_new_process(settings)
