"""Trainings of classifiers that are killed and resumed."""

from collections import Counter

import numpy as np
import pytest
import torch
from digit_files import save_digits

from ssl_ext.apis import evaluate
from ssl_ext.evaluation import Unfinished

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.slow, NO_GPU])]


class Killed(BaseException):
    """In place of the end of the process."""


@pytest.fixture(params=[dict(train=40, val=20, test=50), dict(train=60, test=50)], ids=["val", "refit"])
def config(request, tiny_config, tmp_path):
    """Without validation images the selected network is trained again on all images."""
    tiny_config.evaluation_dataset = save_digits(tmp_path / "digits.npz", request.param)
    training = dict(epochs=3, lr=5e-2, batch_size=16)
    tiny_config.evaluation.update(
        finetune=dict(**training, optimizer="adamw", min_steps=None, evaluations=2), linear_aug=training
    )
    return tiny_config


@pytest.mark.parametrize("device", DEVICES)
def test_a_training_killed_after_every_epoch_gives_the_same_scores(
    device, config, checkpoint, tmp_path, monkeypatch
):
    # Kernels with atomic sums differ between two runs on a GPU.
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", device == "cuda")
    kills, killing, write = Counter(), True, Unfinished.write

    def killed_after(self, state):
        self.seconds = 0
        write(self, state)
        kills[self.path.name] += 1
        if killing:
            raise Killed

    monkeypatch.setattr(Unfinished, "write", killed_after)

    def run(name):
        return evaluate(
            config, checkpoint, protocols=["linear-aug", "finetune"], out_dir=tmp_path / name,
            device=device, resume=True,
        )  # fmt: skip

    rows, files = None, set()
    while rows is None:
        try:
            rows = run("killed")
        except Killed:
            files |= {path.stem for path in (tmp_path / "killed" / "unfinished").iterdir()}
    assert files == set(kills) and len(kills) in (2, 4) and set(kills.values()) == {3}
    killing = False
    # States that were left behind, half written, or are damaged.
    (state,) = {name.rpartition("-")[0] for name in kills if "finetune" in name}
    folder = tmp_path / "whole" / "unfinished"
    folder.mkdir(parents=True)
    (folder / f"{state}-selection.pth").write_bytes(b"damaged")
    (folder / f".{state}-selection.pth.x1").write_bytes(b"half")
    for one, whole in zip(rows, run("whole"), strict=True):
        assert one.last == whole.last and one.best == whole.best
        assert one.settings == whole.settings and one.curves == whole.curves
        parts = [
            np.load(tmp_path / name / row.predictions) for name, row in (("killed", one), ("whole", whole))
        ]
        for key in parts[0].files:
            np.testing.assert_array_equal(parts[0][key], parts[1][key])
    assert not (tmp_path / "killed" / "unfinished").exists() and not folder.exists()
    (path,) = (tmp_path / "whole" / "predictions").glob("*finetune*")
    path.unlink()
    folder.write_text("in place of the folder of states")
    assert [row.last for row in run("whole")] == [row.last for row in rows] and path.exists()
