"""Tables of detectors: one pretraining for all seeds of the detector, or weights from a file."""

from collections import Counter
from pathlib import Path

import pytest

from ssl_ext.apis.tables.planning import plan_table
from ssl_ext.config.papers import read_table

PAPERS = Path(__file__).parents[2] / "configs" / "papers"


def planned(path, tmp_path):
    return plan_table(read_table(path), "t", tmp_path, file=path, most_processes=None)


@pytest.mark.parametrize(("name", "trained", "rows"), [("amix_table6", 8, 8), ("detection_bccd", 3, 4)])
def test_three_seeds_of_a_detector_share_one_pretraining(tmp_path, name, trained, rows):
    plan = planned(PAPERS / f"{name}.py", tmp_path)
    jobs = plan.jobs.values()
    assert Counter(job.stage for job in jobs) == dict(pretrain=trained, detect=3 * rows)
    assert {job.seed for job in jobs if job.stage == "pretrain"} == {0}
    starts = Counter((job.config, tuple(job.after)) for job in jobs if job.stage == "detect")
    assert len(starts) == rows and {*starts.values()} == {3}
    assert {job.seed for job in jobs if job.stage == "detect"} == {0, 1, 2}
    for cell in plan.plan.cells:
        job = plan.jobs[cell.evaluate]
        assert (job.stage, job.seed, job.results) == ("detect", cell.seed, "run/detection.json")
        assert job.after == ([cell.pretrain] if cell.pretrain else [])
    cutmix = [j for j in jobs if "model.policy.name=cutmix" in j.options]
    assert [job.stage for job in cutmix] == (["pretrain"] if name == "amix_table6" else [])
    if name == "detection_bccd":
        assert all("train_cfg.max_iters=500" in job.options for job in jobs if job.stage == "detect")
        assert sum(not job.after for job in jobs if job.stage == "detect") == 3


def test_a_row_may_start_from_a_checkpoint_or_export(tmp_path):
    text = (PAPERS / "detection_bccd.py").read_text()
    weights = tmp_path / "simclr_torchvision.pth"
    weights.write_bytes(b"")
    table = tmp_path / "mine.py"
    table.write_text(text.replace("pretrain=False", f"pretrain={str(weights)!r}"))
    jobs = planned(table, tmp_path).jobs.values()
    started = [job for job in jobs if str(weights) in job.command]
    assert len(started) == 3 and all(
        job.command[job.command.index("--init") + 1] == str(weights) for job in started
    )
