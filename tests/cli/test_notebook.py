"""The notebook's cells run in order."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CELLS = json.loads((ROOT / "tools" / "first_steps.ipynb").read_text(encoding="utf-8"))["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]
CONFIG = "ssl_ext::trimix/trimix-t0.1_resnet18-w16_1xb64-adam-100e_digits.py"


def test_the_notebook_is_stored_without_outputs():
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in CODE)


@pytest.mark.parametrize(
    ("tiny", "least", "width"),
    [(True, 0.5, 64), pytest.param(False, 0.8, 128, marks=pytest.mark.slow)],
    ids=["tiny", "as-stored"],
)
def test_the_cells_run_in_order(tiny, least, width, tiny_config, tmp_path, monkeypatch):
    """With a tiny config, and as stored."""
    monkeypatch.chdir(tmp_path)
    tiny_config.custom_hooks.append(dict(type="OnlineProbeHook"))
    tiny_config.dump("tiny.py")
    names = {}
    for number, cell in enumerate(CODE):
        # Lines with "%" are Jupyter's own.
        source = "".join(line for line in cell["source"] if line[0] != "%")
        source = source.replace(CONFIG, "tiny.py") if tiny else source
        exec(compile(source, f"cell {number}", "exec"), names)
    assert any(CONFIG in "".join(cell["source"]) for cell in CODE)
    names["plt"].close("all")
    run, rows = names["run"], json.loads(Path(names["run"].work_dir, "evaluation/results.json").read_text())
    assert Path(run).name == "epoch_2.pth" and Path("work_dirs/first_steps/epoch_2.pth").is_file()
    assert run.curve[-1]["epoch"] == 2 and run.metrics["loss"] < run.curve[0]["loss"]
    assert [row["last"]["acc"] for row in rows] == [row.last["acc"] for row in names["results"]]
    assert min(row["last"]["acc"] for row in rows) > least
    assert "kNN" in repr(names["results"]) and "linear" in repr(names["results"])
    assert "on Digits, epoch 2" in repr(names["model"])
    assert names["features"].shape == (600, width)
