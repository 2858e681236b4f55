import json
import os
import runpy
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from methods import write_images
from mmengine.config import Config
from tables import Forked

from ssl_ext.apis import parse_options, pretrain
from ssl_ext.cli.train import main
from ssl_ext.config.training import fit_learning_rate
from ssl_ext.engine import read_checkpoint
from ssl_ext.errors import UserError

TRAIN = Path(__file__).parents[2] / "tools" / "train.py"
TERMS = ("loss_invariance", "loss_redundancy", "loss_virtual", "loss_consistency")


def scalars(work_dir):
    rows = []
    for path in sorted(Path(work_dir).glob("*/vis_data/scalars.json")):
        rows += [json.loads(line) for line in path.read_text().splitlines()]
    return rows


def losses(work_dir):
    return [[row[key] for key in TERMS] for row in scalars(work_dir) if "loss" in row]


def test_a_run_leaves_everything_behind(tiny_config_file, tmp_path):
    pretrain(tiny_config_file, work_dir=tmp_path / "run", seed=3)
    rows = [row for row in scalars(tmp_path / "run") if "loss" in row]
    assert [row["step"] for row in rows] == [2, 4, 6, 8]
    for row in rows:
        assert row["loss"] == pytest.approx(sum(row[term] for term in TERMS), rel=1e-5)
        for key in ("lr", "time", "data_time", "images_per_second", "peak_memory_mib", "virtual_p_lam"):
            assert row[key] >= 0, key
    monitored = [row for row in scalars(tmp_path / "run") if "knn_top1" in row]
    assert len(monitored) == 2
    assert all(row["knn_top1"] > 0.5 for row in monitored)
    assert all(1 <= row["rankme"] <= 64 for row in monitored)
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert info["seed"] == 3 and info["checkpoints"] == "every 1 epoch"
    assert "torch" in info["versions"]
    assert (tmp_path / "run" / "tiny.py").is_file()
    assert list((tmp_path / "run").glob("*/vis_data/events.out.tfevents*"))
    assert read_checkpoint(tmp_path / "run" / "epoch_2.pth")["meta"]["epoch"] == 2


def test_the_laid_out_config_reads_the_same(tiny_config, laid_out, tmp_path):
    tiny_config.note = "a 'b' \"c\" \\d, \ne = [1]  # é"
    tiny_config.dump(tmp_path / "laid_out.py")
    assert Config.fromfile(tmp_path / "laid_out.py").to_dict() == tiny_config.to_dict()
    lines = (tmp_path / "laid_out.py").read_text().splitlines()
    assert len(lines) > 2 * len(tiny_config) and max(map(len, lines)) <= 80


def test_seed_decides_the_run(tiny_config, tmp_path):
    tiny_config.custom_hooks = tiny_config.custom_hooks[:2]
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        pretrain(tiny_config, work_dir=tmp_path / name, seed=seed)
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    assert losses(tmp_path / "a") != losses(tmp_path / "c")


def equal(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def test_kill_and_resume_equals_an_uninterrupted_run(tiny_config, tiny_config_file, tmp_path):
    tiny_config.train_cfg.max_epochs = 3
    tiny_config.dump(tiny_config_file)
    pretrain(tiny_config_file, work_dir=tmp_path / "whole")

    with open(tmp_path / "output.txt", "wb") as log:
        words = [str(tiny_config_file), "--work-dir", str(tmp_path / "cut")]
        process = Forked(lambda: main(words), log.fileno(), {})
    while not (tmp_path / "cut" / "epoch_1.pth").is_file():
        assert process.poll() is None, (tmp_path / "output.txt").read_text()
        time.sleep(0.02)
    process.kill()
    process.wait()
    pretrain(tiny_config_file, work_dir=tmp_path / "cut", resume=True)

    whole = read_checkpoint(tmp_path / "whole" / "epoch_3.pth")
    cut = read_checkpoint(tmp_path / "cut" / "epoch_3.pth")
    for key in ("state_dict", "optimizer", "param_schedulers", "random_states"):
        assert equal(whole[key], cut[key]), key
    assert losses(tmp_path / "whole")[-2:] == losses(tmp_path / "cut")[-2:]


def test_resume_auto_of_a_finished_run_that_was_moved_changes_nothing(tiny_config, tmp_path):
    tiny_config.train_cfg.max_epochs = 1
    pretrain(tiny_config, work_dir=tmp_path / "old")
    run = (tmp_path / "old").rename(tmp_path / "new")
    before = (run / "epoch_1.pth").read_bytes()
    pretrain(tiny_config, work_dir=run, resume="auto")
    assert (run / "epoch_1.pth").read_bytes() == before
    assert not (tmp_path / "old").exists()


def test_odd_batch_trains(tiny_config, tmp_path):
    tiny_config.train_cfg.max_epochs = 1
    pretrain(tiny_config, work_dir=tmp_path, options={"train_dataloader.batch_size": 359})
    assert all(np.isfinite(row).all() for row in losses(tmp_path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_dataloader.batch_size": 1}, "train_dataloader.batch_size is 1.*at least 2"),
        ({"train_dataloader.batch_size": 5000}, "1078 images, less than one batch of 5000"),
        ({"train_dataloader.batch_size": 1077, "train_dataloader.drop_last": False}, "a single image .1078"),
        ({"train_dataloader.dataset.channels": 1}, "1 channels and data_preprocessor.mean has 3"),
        ({"data_preprocessor.mean": [125.0, 125.0, 125.0]}, r"units of images in \[0, 1\]"),
        ({"model.head.type": "NoSuchHead"}, "NoSuchHead"),
        ({"model.head.temperature": 0}, "model.head.temperature is 0"),
        ({"model.lam_per": "batch"}, "model.lam_per is 'batch'"),
        ({"views.0.transforms.0.type": "RandomCropp"}, "RandomCropp"),
        (
            {
                "train_dataloader.dataset": dict(
                    type="NPZDataset", split="train", data_root="/no/such.npz", _delete_=True
                )
            },
            "/no/such.npz",
        ),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_no_work_dir(tiny_config, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        pretrain(tiny_config, work_dir=tmp_path / "run", options=options)
    assert not (tmp_path / "run").exists()


def test_a_bad_evaluation_set_stops_the_run_before_it_trains(tiny_config, tmp_path):
    tiny_config.evaluation_dataset = dict(type="NPZDataset", data_root="/no/such.npz")
    with pytest.raises(UserError, match="/no/such.npz"):
        pretrain(tiny_config, work_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_nan_in_the_images_is_named(tiny_config, tmp_path):
    images = np.random.default_rng(0).random((64, 8, 8, 3), np.float32)
    images[3, 2, 1, 0] = np.nan
    np.savez(
        tmp_path / "mine.npz",
        x_train=images,
        y_train=np.zeros(64, int),
        x_test=images,
        y_test=np.zeros(64, int),
    )
    options = {
        "train_dataloader.dataset": dict(
            type="NPZDataset", split="train", data_root=str(tmp_path / "mine.npz"), _delete_=True
        )
    }
    with pytest.raises(UserError, match=r"mine\.npz.*(NaN|finite)"):
        pretrain(tiny_config, work_dir=tmp_path / "run", options=options)


def test_init_and_resume_exclude_each_other(tiny_config, tmp_path):
    tiny_config.train_cfg.max_epochs = 1
    pretrain(tiny_config, work_dir=tmp_path)
    checkpoint = tmp_path / "epoch_1.pth"
    with pytest.raises(UserError, match="--init.*--resume"):
        pretrain(tiny_config, work_dir=tmp_path, init=checkpoint, resume=checkpoint)
    with pytest.raises(UserError, match=r"no\.pth"):
        pretrain(tiny_config, work_dir=tmp_path, resume="no.pth")


@pytest.mark.skipif(torch.cuda.is_available(), reason="mixed precision works on a GPU")
def test_mixed_precision_on_the_cpu_needs_matrix_units(tiny_config, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    with pytest.raises(UserError, match="--amp needs a GPU or a CPU with AMX"):
        pretrain(tiny_config, work_dir=tmp_path / "run", amp=True)
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    tiny_config.train_cfg.max_epochs = 1
    # Without matrix units a step in bfloat16 is slow.
    write_images(path := tmp_path / "images.npz")
    tiny_config.train_dataloader.batch_size = 16
    tiny_config.train_dataloader.dataset = dict(type="NPZDataset", split="train", data_root=str(path))
    pretrain(tiny_config, work_dir=tmp_path / "run", amp=True)
    (written,) = (tmp_path / "run").glob("*.py")
    assert Config.fromfile(written).optim_wrapper.type == "BFloat16OptimWrapper"


def test_deterministic_run(tiny_config, tmp_path, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # so that monkeypatch restores it
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    tiny_config.train_cfg.max_epochs = 1
    # Enables cuDNN benchmarking, whose choice of kernels differs between runs.
    tiny_config.env_cfg = dict(cudnn_benchmark=True)
    try:
        pretrain(tiny_config, work_dir=tmp_path, deterministic=True)
        assert torch.are_deterministic_algorithms_enabled() and not torch.backends.cudnn.benchmark
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.deterministic = False


@pytest.mark.parametrize(("processes", "rate"), [(1, 0.015), (4, 0.06)])
def test_other_images_per_step_warn_or_scale_the_rate(processes, rate):
    settings = dict(optim_wrapper=dict(optimizer=dict(lr=0.03)), train_dataloader=dict(batch_size=32))
    config = Config(dict(settings, auto_scale_lr=dict(base_batch_size=64)))
    said = (
        f"make updates of {32 * processes} images, but the learning rate 0.03 is for 64: "
        "--auto-scale-lr scales it to"
    )
    with pytest.warns(UserWarning, match=f"{said} {rate}"):
        fit_learning_rate(config, processes)
    assert config.optim_wrapper.optimizer.lr == 0.03
    config.auto_scale_lr.enable = True
    for _ in range(2):  # a config that was scaled is not scaled again
        fit_learning_rate(config, processes)
        assert config.optim_wrapper.optimizer.lr == pytest.approx(rate)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_learning_rate(Config(dict(settings, auto_scale_lr=dict(base_batch_size=64))), 2)
        fit_learning_rate(Config(settings), processes)


def test_scaling_needs_the_images_per_step_of_the_rate(tiny_config, tmp_path):
    with pytest.raises(UserError, match=r"set auto_scale_lr\.base_batch_size"):
        pretrain(tiny_config, work_dir=tmp_path / "run", auto_scale_lr=True)
    options = {"auto_scale_lr.base_batch_size": 512, "train_cfg.max_epochs": 1}
    pretrain(tiny_config, work_dir=tmp_path / "run", auto_scale_lr=True, options=options)
    assert scalars(tmp_path / "run")[0]["lr"] == pytest.approx(5e-4)


def test_stem_and_image_size_that_disagree_warn(tiny_config, tmp_path):
    tiny_config.train_cfg.max_epochs = 1
    with pytest.warns(UserWarning, match="ImageNet stem"):
        pretrain(tiny_config, work_dir=tmp_path, options={"model.backbone.type": "ResNet"})


def test_command_line_errors_are_one_line(monkeypatch, capsys):
    for arguments, message in (
        (["no/such/config.py"], "no/such/config.py"),
        ([__file__, "--cfg-options", "novalue"], "novalue"),
    ):
        monkeypatch.setattr(sys, "argv", [str(TRAIN), *arguments])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(TRAIN), run_name="__main__")
        said = capsys.readouterr().err
        assert ended.value.code == 2
        assert message in said and said.count("\n") == 1


def test_options_are_read_like_config_values():
    assert parse_options(["a.b=1", "c=[2,3]", "d=x", "e=True"]) == {
        "a.b": 1,
        "c": [2, 3],
        "d": "x",
        "e": True,
    }
