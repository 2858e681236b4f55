"""Checkpoints in unusual places: pipes beside them, names that are not UTF-8, disks that are full."""

import logging
import os
import resource
from types import SimpleNamespace

import pytest
import torch

from ssl_ext.apis import pretrain
from ssl_ext.apis.evaluate.networks import Networks
from ssl_ext.config.networks import random_network
from ssl_ext.config.stored import config_of_checkpoint
from ssl_ext.engine import newest_checkpoint, write_checkpoint
from ssl_ext.engine.resuming import changed_settings
from ssl_ext.engine.runner import PretrainRunner
from ssl_ext.engine.weights import read_checkpoint
from ssl_ext.engine.weights.checkpoint import is_complete, stored_meta, stored_step
from ssl_ext.errors import UserError
from ssl_ext.evaluation import ResultRow
from ssl_ext.evaluation.identity import measurement_key

ODD = os.fsdecode(b"caf\xe9")


@pytest.mark.timeout(20)
def test_pipes_in_a_work_dir_are_no_checkpoints(tmp_path):
    write_checkpoint(dict(meta=dict(iter=4, epoch=1)), tmp_path / "epoch_1.pth")
    for name in ("epoch_2.pth", "interrupted.pth", "config.py"):
        os.mkfifo(tmp_path / name)
    assert newest_checkpoint(tmp_path).name == "epoch_1.pth"
    assert stored_meta(tmp_path / "epoch_2.pth") == {}
    assert not is_complete(tmp_path / "epoch_2.pth")
    with pytest.raises(UserError, match="is a pipe or a device"):
        read_checkpoint(tmp_path / "epoch_2.pth")
    with pytest.raises(UserError, match="has no config in it or beside it"):
        config_of_checkpoint(tmp_path / "epoch_1.pth", {})


def test_steps_in_a_folder_whose_name_is_not_utf8(tmp_path):
    for epoch in (9, 10):
        write_checkpoint(dict(meta=dict(iter=4 * epoch, epoch=epoch)), tmp_path / ODD / f"epoch_{epoch}.pth")
    assert stored_step(tmp_path / ODD / "epoch_9.pth")[:2] == (36, 9)
    assert newest_checkpoint(tmp_path / ODD).name == "epoch_10.pth"
    (tmp_path / ODD / "epoch_10.pth").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"epoch_10\.pth' is damaged"):
        read_checkpoint(tmp_path / ODD / "epoch_10.pth")


def test_a_work_dir_whose_name_is_not_utf8_is_refused_before_the_work(tiny_config, tmp_path):
    with pytest.raises(UserError, match=r"caf\\xe9' is not UTF-8"):
        pretrain(tiny_config, work_dir=tmp_path / ODD)
    assert not list(tmp_path.iterdir())


def test_the_log_takes_names_that_are_not_utf8(tmp_path, monkeypatch):
    runner = PretrainRunner.__new__(PretrainRunner)
    runner._experiment_name, runner._log_dir, runner._timestamp = "odd", str(tmp_path), "now"
    monkeypatch.setattr(logging, "raiseExceptions", True)
    logger = runner.build_logger()
    logger.info(f"read from {ODD}")
    assert r"read from caf\udce9" in (tmp_path / "now.log").read_text(encoding="utf-8")


def test_averaged_weights_are_another_measurement(tiny_config, tmp_path):
    first, second = (random_network(tiny_config, seed=seed).state_dict() for seed in (1, 2))
    torch.save(dict(state_dict=first, state_dict_ema=second), tmp_path / "a.pth")
    keys = set()
    for ema, state in ((False, first), (True, second)):
        options = dict(seed=0, device=torch.device("cpu"), ema=ema)
        networks = Networks(tiny_config, tmp_path / "a.pth", **options)
        name = "backbone.conv1.weight"
        assert torch.equal(networks.main.model.state_dict()[name], state[name])
        source = dict(checkpoint=networks.checkpoint)
        keys.add(measurement_key(ResultRow("TriMix", "knn", {}, {}, {}, {}, 0, source=source)))
    assert len(keys) == 2


FACTS = dict(
    images_per_step=8, processes=1, steps_per_epoch=4, images=32, data=1, seed=0, max_iters=8, config="{}"
)


@pytest.mark.parametrize("key", FACTS)
@pytest.mark.parametrize("value", ["missing", None, [], "[" * 5000, {}, float("nan")])
def test_a_damaged_record_of_the_settings_is_one_sentence(key, value, tmp_path):
    stored = {name: fact for name, fact in FACTS.items() if name != key or value != "missing"}
    if value != "missing":
        stored[key] = value
    path = str(tmp_path / "a.pth")
    write_checkpoint(dict(optimizer={}, meta=dict(iter=4, run=stored)), path)
    runner = SimpleNamespace(facts=FACTS, cfg=SimpleNamespace(optim_wrapper={}), logger=None)
    try:
        changed_settings(runner, path)
    except UserError as error:
        assert path in str(error) and "\n" not in str(error)
    else:
        assert key in ("max_iters", "processes", "config")


def test_a_full_disk_is_told_with_what_is_left(tmp_path):
    write_checkpoint(dict(step=1), tmp_path / "a.pth")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(UserError, match=r"^Checkpoint '.*a\.pth' could not be written: File too large\."):
            write_checkpoint(dict(step=torch.ones(10_000)), tmp_path / "a.pth")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert read_checkpoint(tmp_path / "a.pth")["step"] == 1 and len(list(tmp_path.iterdir())) == 1
