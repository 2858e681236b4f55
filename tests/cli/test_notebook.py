"""The notebook's cells run in order in a fresh process."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CELLS = json.loads((ROOT / "tools" / "first_steps.ipynb").read_text(encoding="utf-8"))["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]
RUN = """
import json, sys
from pathlib import Path
names = {}
for number, source in enumerate(json.loads(sys.argv[1])):
    exec(compile(source, f"cell {number}", "exec"), names)
run, rows = names["run"], json.loads(Path(names["run"].work_dir, "evaluation/results.json").read_text())
assert Path(run).name == "epoch_2.pth" and Path("work_dirs/first_steps/epoch_2.pth").is_file()
assert run.curve[-1]["epoch"] == 2 and run.metrics["loss"] < run.curve[0]["loss"]
assert [row["last"]["acc"] for row in rows] == [row.last["acc"] for row in names["results"]]
assert min(row["last"]["acc"] for row in rows) > 0.8
assert "kNN" in repr(names["results"]) and "linear" in repr(names["results"])
assert "on Digits, epoch 2" in repr(names["model"])
assert names["features"].shape == (600, 128)
"""


def test_the_notebook_is_stored_without_outputs():
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in CODE)


def test_the_cells_run_in_order(tmp_path):
    # Lines with "%" are Jupyter's own.
    sources = json.dumps(["".join(x for x in cell["source"] if x[0] != "%") for cell in CODE])
    environment = {**os.environ, "MPLBACKEND": "agg", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", RUN, sources],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
