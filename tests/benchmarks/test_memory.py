"""Memory benchmark: counted bytes, measurement and output."""

import os
import signal

import pytest
import torch
from benchmarks import memory
from benchmarks.memory import SavedForBackward, Usage, measure_step
from rich.console import Console
from torch import nn

from ssl_ext import processes
from ssl_ext.apis import build_model
from ssl_ext.env import peak_resident_bytes
from ssl_ext.errors import UserError


def usage(**changes):
    numbers = dict(kept=0, parameters=0, buffers=0, optimizer=0, libraries=0, resident=0)
    return Usage(**{**numbers, "device": None, "coupling": None, **changes})


def test_saved_bytes_in_closed_form():
    """A linear layer saves its input, a ReLU its output; weights are excluded, and views share a storage."""
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


def test_a_step_keeps_half_for_half_the_batch_and_less_when_stages_are_recomputed(tiny_simsiam):
    steps = dict(size=16)
    whole = measure_step(tiny_simsiam, batch_size=32, **steps)
    halves = measure_step(tiny_simsiam, batch_size=32, parts=2, **steps)
    again = measure_step(tiny_simsiam, batch_size=32, checkpointing=True, **steps)
    assert halves.kept == pytest.approx(whole.kept / 2, rel=0.02)
    assert again.kept < 0.4 * whole.kept
    model = build_model(tiny_simsiam)
    parameters = sum(4 * p.numel() for p in model.parameters())
    for measured in (whole, halves, again):
        assert measured.parameters == parameters
        # Adam: two moments and a step counter per parameter.
        assert measured.optimizer == 2 * parameters + 4 * len(list(model.parameters()))
        assert measured.buffers == sum(buffer.nbytes for buffer in model.buffers())
        assert measured.resident >= measured.libraries > 2**20 and measured.coupling is None


def test_every_part_of_the_batch_is_seen_and_the_optimiser_steps_once(tiny_simsiam, monkeypatch):
    seen, stepped = [], []
    model = build_model(tiny_simsiam).train()
    monkeypatch.setattr(
        model, "loss", lambda views, samples: seen.append(samples["indices"].tolist()) or _sum(model)
    )
    optimizer = memory.build_optim_wrapper(model, tiny_simsiam.optim_wrapper)
    optimizer.optimizer.register_step_post_hook(lambda *_: stepped.append(len(seen)))
    memory.update(model, optimizer, 8, 8, 4)
    assert [len(part) for part in seen] == [2] * 4 and sorted(sum(seen, [])) == list(range(8))
    assert stepped == [4]


def _sum(model):
    return dict(loss=sum(p.sum() for p in model.parameters()))


def test_a_new_process_measures_the_same_and_not_this_one(tiny_simsiam, tmp_path):
    tiny_simsiam.dump(tmp_path / "tiny.py")
    settings = dict(config=str(tmp_path / "tiny.py"), batch_size=16, size=16)
    ballast = torch.ones(2**26)
    measured = memory.in_new_process(settings)
    assert measured.kept == measure_step(**settings).kept
    assert measured.resident > measured.libraries > 2**27
    assert measured.resident - measured.libraries < ballast.nbytes < peak_resident_bytes()


def test_the_tool_shows_each_way_of_taking_the_step(run_tool, tiny_simsiam, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "in_new_process", lambda settings: measure_step(**settings))
    tiny_simsiam.dump(tmp_path / "tiny.py")
    shown, figures = run_tool("memory", "--config", tmp_path / "tiny.py", "--batch-size", 16, "--size", 16)
    rows = {row["way"]: row["usage"] for row in figures["rows"]}
    assert list(rows) == ["plain", "4 x 4", "recomputed"]
    assert rows["4 x 4"]["kept"] < 0.3 * rows["plain"]["kept"]
    assert rows["recomputed"]["kept"] < 0.4 * rows["plain"]["kept"]
    assert "memory: batch 16, 16 px" in shown and "recomputed" in shown


def test_accumulation_is_left_out_where_it_is_another_update(monkeypatch):
    asked = []

    def measured(settings):
        asked.append(settings)
        return usage(coupling="the negatives are those of a batch")

    monkeypatch.setattr(memory, "in_new_process", measured)
    assert list(dict(memory.measure("a.py", batch_size=16, size=8))) == ["plain", "recomputed"]
    assert asked[1] == dict(asked[0], checkpointing=True)


def test_the_table_has_shares_of_the_plain_step():
    state = dict(parameters=1 << 20, optimizer=2 << 20)
    plain = usage(kept=400 << 20, libraries=5 << 20, resident=505 << 20, **state)
    again = usage(kept=100 << 20, libraries=5 << 20, resident=255 << 20)
    console = Console(width=120, record=True)
    console.print(memory.memory_table({"a": {"plain": plain, "recomputed": again}}, "title"))
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in console.export_text().splitlines()]
    assert ["a", "plain", "400", "1.00", "3", "500", "1.00"] in cells
    assert ["a", "recomputed", "100", "0.25", "0", "250", "0.50"] in cells


def test_the_configs_of_all_methods_exist():
    assert all(path.is_file() for path in memory.configs_of(None).values())


def killed(**settings):
    os.kill(os.getpid(), signal.SIGKILL)


def test_errors_of_the_other_process_are_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "START_METHOD", "fork")
    settings = dict(config=str(tmp_path / "none.py"), batch_size=8, size=8)
    with pytest.raises(UserError, match=r"none\.py.* does not exist"):
        memory.in_new_process(settings)
    monkeypatch.setattr(memory, "measure_step", killed)
    with pytest.raises(UserError, match=r"The step of .*none\.py was killed: "):
        memory.in_new_process(settings)
