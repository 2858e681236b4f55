"""``benchmark.py gpu``: figures of a cell, and reuse of finished cells."""

import io
import json

import pytest
import torch
from rich.console import Console

from ssl_ext.errors import UserError


@pytest.fixture
def gpu(monkeypatch, request):
    monkeypatch.syspath_prepend(request.config.rootpath / "tools")
    from benchmarks import gpu, gpu_measure

    return gpu, gpu_measure


def test_a_cell_replays_the_step_and_its_passes_alone(gpu, tiny_config, monkeypatch):
    gpu, gpu_measure = gpu
    seen = []
    original = gpu_measure.Passes.seconds

    def seconds(passes, wrapper):
        seen.extend((tuple(images.shape), learns) for _, images, learns in passes.calls)
        return original(passes, wrapper)

    monkeypatch.setattr(gpu_measure.Passes, "seconds", seconds)
    figures = gpu.step_figures(tiny_config, {}, 8, 8, 8, True)
    # TriMix: two views and a mixed batch, all with a backward pass.
    assert seen == [((8, 3, 8, 8), True)] * 3
    assert figures["replayed"] and figures["outside_ms"] == pytest.approx(
        figures["ms"] - figures["passes_ms"]
    )
    plain = gpu.step_figures(tiny_config, dict(captured_step=False), 8, 8, 4, False)
    assert not plain["replayed"] and "passes_ms" not in plain


def test_finished_cells_are_kept_and_failed_ones_are_measured_again(gpu, monkeypatch, tmp_path):
    gpu, _ = gpu
    calls = []

    def cell(name, fail=()):
        def measure():
            calls.append(name)
            if len(calls) in fail:
                raise RuntimeError("out of memory")
            return dict(ms=1.0, images_per_second=123456.0, peak_reserved_mib=12345.0)

        return name, measure

    monkeypatch.setattr(gpu, "all_cells", lambda **_: [cell("a"), cell("b", fail=[2]), cell("c")])
    settings = dict(only=[""], cells=str(tmp_path / "cells.json"), rows=1)
    gpu.run(Console(quiet=True), seconds=60, **settings)
    assert calls == ["a", "b", "c"]
    assert "out of memory" in json.loads((tmp_path / "cells.json").read_text())["b"]["error"]
    output = io.StringIO()
    found = gpu.run(Console(file=output, width=80), seconds=60, **settings)["cells"]
    assert "123,456.00" in output.getvalue() and "12,345.00" in output.getvalue()  # a pipe is wide enough
    assert calls == ["a", "b", "c", "b"] and "error" not in found["b"]
    (tmp_path / "cells.json").unlink()
    assert gpu.run(Console(quiet=True), seconds=-1, **settings)["cells"] == {}


def test_a_text_in_no_name_is_refused(gpu, monkeypatch):
    gpu, _ = gpu
    monkeypatch.setattr(gpu, "all_cells", lambda **_: [("trimix, eager", dict)])
    with pytest.raises(UserError, match="--only is '96 px', in no name of trimix, eager"):
        gpu.run(Console(quiet=True), seconds=60, only=["96 px"], cells=None, rows=1)


def test_every_method_is_found_once(gpu, monkeypatch):
    gpu, _ = gpu
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    names = [name for name, _ in gpu.all_cells(batch_size=8, size=8, steps=4, workers=0, rows=8, all=True)]
    assert len(set(names)) == len(names)
    assert "tribyol, float32, captured" in names and "swav, bfloat16, eager" in names
    assert "two views of a batch, 96 px, compiled" in names
    assert names[0] == "trimix, bfloat16, captured" and names.count(f"trimix, bfloat16, {gpu.COMPILED}") == 1


def test_views_of_kornia_are_like_those_measured(gpu):
    pytest.importorskip("kornia")
    from benchmarks.gpu_views import kornia_views, trimix_views

    ours, theirs = (torch.cat(draw(64, 16, "cpu")()) for draw in (trimix_views, kornia_views))
    assert ours.shape == theirs.shape == (128, 3, 16, 16) and ours.dtype == theirs.dtype
    for name in ("mean", "std"):
        torch.testing.assert_close(getattr(ours, name)(), getattr(theirs, name)(), atol=0.15, rtol=0)
