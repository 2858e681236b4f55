"""Monitored figures are correct and stored, and monitoring does not change the run."""

import functools
import json
import multiprocessing
import os
import random
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from mmengine.hooks import Hook, LoggerHook
from mmengine.logging import MessageHub
from mmengine.registry import init_default_scope
from torch import nn

from ssl_ext.apis import pretrain
from ssl_ext.datasets import ArrayDataset, Digits
from ssl_ext.engine import (
    FeatureMonitorHook,
    OnlineProbeHook,
    ThroughputHook,
    ValidationLossHook,
    read_checkpoint,
)
from ssl_ext.engine.hooks import IterTimerHook, feature_monitor, throughput
from ssl_ext.env import memory_of, seconds_since_start
from ssl_ext.evaluation import Splits, hold_out, knn_classify, rankme, top1
from ssl_ext.registry import HOOKS

WORLD = 2
SAVED = []


@HOOKS.register_module()
class FeatureRecorderHook(Hook):
    """Record the first features of every step and the labels, for a probe trained directly."""

    def before_train(self, runner):
        self.passes = []
        runner.model.backbone.register_forward_hook(lambda module, given, out: self.passes.append(out[-1]))

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.passes.clear()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        SAVED.append((self.passes[0].detach().mean((2, 3)), data_batch["labels"]))


def scalars(work_dir):
    rows = []
    for path in sorted(work_dir.glob("*/vis_data/scalars.json")):
        rows += [json.loads(line) for line in path.read_text().splitlines()]
    return rows


def equal(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def monitored(config, *more):
    config.custom_hooks = [
        dict(type="RandomStateHook"),
        dict(type="OnlineProbeHook", lr=1e-2),
        dict(type="FeatureMonitorHook", interval=1),
        dict(type="ValidationLossHook", interval=1),
        *more,
    ]
    return config


def test_probe_and_monitors_change_nothing_and_equal_the_plain_way(tiny_config, tmp_path, monkeypatch):
    built = Counter()
    init = Digits.__init__

    @functools.wraps(init)
    def spy(self, split="train", **settings):
        built[split] += 1
        init(self, split=split, **settings)

    monkeypatch.setattr(Digits, "__init__", spy)
    tiny_config.custom_hooks = [dict(type="RandomStateHook")]
    tiny_config.train_cfg.max_epochs = 1
    pretrain(tiny_config, work_dir=tmp_path / "plain")
    SAVED.clear()
    model = pretrain(
        monitored(tiny_config, dict(type="FeatureRecorderHook")), work_dir=tmp_path / "monitored"
    )
    assert set(built) == {"train", "val"}

    plain, watched = (read_checkpoint(tmp_path / name / "epoch_1.pth") for name in ("plain", "monitored"))
    for key in ("state_dict", "optimizer", "random_states", "param_schedulers"):
        assert equal(plain[key], watched[key]), key
    assert "online_probe" not in plain

    layer = nn.Linear(64, 10)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimizer, steps = torch.optim.Adam(layer.parameters(), lr=1e-2), []
    for features, labels in SAVED:
        loss = F.cross_entropy(layer(features), labels)
        hits = (layer(features).argmax(1) == labels).float().mean()
        steps.append((float(loss.detach()), float(hits)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for name, value in layer.state_dict().items():
        torch.testing.assert_close(watched["online_probe"]["layer"][name], value, rtol=1e-4, atol=1e-6)
    rows = scalars(tmp_path / "monitored")
    logged = [(r["probe_cross_entropy"], r["probe_top1"]) for r in rows if "probe_top1" in r]
    expected = np.array(steps).reshape(2, 2, 2).mean(1)  # a line for two steps
    np.testing.assert_allclose(logged, expected, rtol=1e-4)

    val = Digits("val", image_size=8)
    with torch.no_grad():
        features = model.eval().extract_embedding((val.images / 255 - 0.5) / 0.5)
        scores = layer(features)
    (figures,) = [row for row in rows if "knn_top1" in row]
    assert figures["val_probe_cross_entropy"] == pytest.approx(
        F.cross_entropy(scores, val.labels).item(), rel=1e-4
    )
    assert figures["val_probe_top1"] == pytest.approx((scores.argmax(1) == val.labels).float().mean().item())
    assert (figures["epoch"], figures["step"]) == (1, 4)
    (validated,) = [row for row in rows if "val_loss" in row]
    assert validated["step"] == 4 and "val_positive_top1" not in validated


def test_resume_goes_on_with_probe_and_figures(tiny_config, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    monitored(tiny_config)
    pretrain(tiny_config, work_dir=whole)
    pretrain(tiny_config, work_dir=cut, resume=whole / "epoch_1.pth")
    first, second = (read_checkpoint(folder / "epoch_2.pth") for folder in (whole, cut))
    for key in ("state_dict", "online_probe", "random_states"):
        assert equal(first[key], second[key]), key
    assert not any("probe" in name for name in first["state_dict"])
    timed = ("time", "data_time", "lr")

    def figures(folder):
        rows = [{k: v for k, v in row.items() if k not in timed} for row in scalars(folder)]
        return [row for row in rows if row["step"] > 4]

    assert figures(cut) == figures(whole) and len(figures(whole)) == 4


class View(nn.Module):
    """Fake preprocessor: two random views in training mode, else clean images."""

    def forward(self, data, training=False):
        images = data["inputs"].float()
        views = [images + torch.rand_like(images) for _ in range(2)] if training else images
        return dict(inputs=views, data_samples={k: v for k, v in data.items() if k != "inputs"})


class Model(nn.Module):
    """Fake contrastive model; its loss is the mean of the views of the joined batch."""

    uses_indices = False

    def __init__(self):
        super().__init__()
        self.data_preprocessor, self.backbone = View(), nn.Flatten()
        self.seen = []

    def loss(self, views, data_samples):
        assert not self.training and not torch.is_grad_enabled() and "indices" not in data_samples
        self.seen.append(views)
        return dict(loss_a=views[0].mean(), loss_b=views[1].mean(), positive_top1=views[0].mean() / 9)


def dataset(labels, **keywords):
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 1, 2, 2), np.uint8)
    return ArrayDataset(images, np.array(labels), **keywords)


def fake_runner(train, val=None, *, model=None, splits=True, batch_size=4):
    loader = torch.utils.data.DataLoader(train, batch_size=batch_size, collate_fn=lambda batch: batch)
    said = []
    return SimpleNamespace(
        model=model or Model(),
        hooks=[],
        cfg={},
        train_dataloader=loader,
        evaluation_splits=Splits(train, val, None, "test") if splits else None,
        message_hub=MessageHub.get_instance(f"monitors-{random.random()}"),
        logger=SimpleNamespace(warning=said.append, info=lambda text, **_: said.append(text)),
        said=said,
        figures={},
        epoch=0,
    )


def pass_by(hook, runner, rows, batch=None):
    """Training step of the fake model, whose backbone gets ``batch``."""
    data = runner.train_dataloader.dataset.__getitems__(rows)
    hook.before_train_iter(runner, 0, data)
    runner.model.backbone(data["inputs"].float() if batch is None else batch)
    hook.device_step(runner, data, {})
    hook.after_train_iter(runner, 0, data)


def started(train, val=None, **keywords):
    hook, runner = OnlineProbeHook(), fake_runner(train, val, **keywords)
    hook.before_train(runner)
    return hook, runner


@pytest.mark.parametrize("groups", [None, np.arange(40) // 4])
def test_rows_held_out_for_validation_are_not_learned(groups):
    train = dataset([0, 1] * 20, groups=groups)
    hook, runner = started(train)
    held = hold_out(train.labels, seed=0, groups=groups)[1].tolist()
    assert groups is None or len(held) == 4
    fit = [row for row in range(40) if row not in held]
    pass_by(hook, runner, held)
    assert not hook.layer.weight.any() and not runner.message_hub.log_scalars
    pass_by(hook, runner, fit + held)
    other, plain = started(train)
    pass_by(other, plain, held)
    pass_by(other, plain, fit)
    assert hook.layer.weight.any() and torch.equal(hook.layer.weight, other.layer.weight)
    assert hook.validate(runner, torch.ones(4, 4), train.labels[held])


def test_knn_of_the_monitor_classifies_the_held_out_rows_by_the_others():
    train = dataset([0, 1] * 20)
    runner = fake_runner(train)
    runner.model.extract_embedding = runner.model.backbone
    runner.cfg = dict(evaluation=dict(knn=dict(k=[1, 3])))
    figures = FeatureMonitorHook().measure(runner)
    pixels, (fit, held) = train.images.flatten(1).float(), hold_out(train.labels, seed=0)
    scores = knn_classify(pixels[held], pixels[fit], train.labels[fit], num_classes=2, k=3)
    assert figures["knn_top1"] == top1(scores, train.labels[held])
    assert figures["rankme"] == pytest.approx(rankme(pixels[fit]))


def test_images_of_all_processes_are_counted(monkeypatch):
    monkeypatch.setattr("ssl_ext.engine.hooks.throughput.get_world_size", lambda: 4)
    hook, runner = ThroughputHook(), fake_runner(dataset([0] * 8), batch_size=8)
    runner.hooks = [LoggerHook(interval=1)]
    hook.before_train(runner)
    runner.message_hub.update_scalar("train/time", 0.5)
    hook.after_train_iter(runner, 0, dict(inputs=torch.zeros(8)))
    assert runner.message_hub.get_scalar("train/images_per_second").current() == 4 * 8 / 0.5


def test_start_and_memory_of_all_processes_are_logged_once(monkeypatch):
    monkeypatch.setattr("ssl_ext.engine.hooks.throughput.seconds_since_start", iter([7.25, 9.0]).__next__)
    hook, runner = ThroughputHook(), fake_runner(dataset([0] * 8), batch_size=8)
    runner.hooks, runner.iter = [LoggerHook(interval=2)], 0
    hook.before_train(runner)
    runner.message_hub.update_scalar("train/time", 0.5)
    with worker() as process:
        for index in range(4):
            hook.after_train_iter(runner, index, dict(inputs=torch.zeros(8)))
        own, workers = throughput.own_memory()
        pages = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        assert own[0][0] == pytest.approx(pages, rel=0.05) and own[0][1] < own[0][0]
        assert workers[0][0] == memory_of(process.pid)[0] > workers[0][1] > 0
    (line,) = runner.said
    assert line.startswith("First step 7.2 s after the start of the program; memory of 1 process(es) ")
    assert " of 1 workers " in line
    assert memory_of(2**30) is None
    assert 0 < seconds_since_start() < 10**7


@contextmanager
def worker():
    """A forked process that waits."""
    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=time.sleep, args=(600,))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def test_validation_is_silent_where_it_would_not_be_honest():
    train, features, labels = dataset([0, 1] * 20), torch.ones(2, 4), torch.tensor([0, 1])
    # Images of the probe and held-out images may be equal, in another order.
    hook, runner = started(train)
    pass_by(hook, runner, [0, 1])
    hook.held_out = None
    assert hook.validate(runner, features, labels) == {}
    runner.evaluation_splits = Splits(train, train, None, "test")
    assert set(hook.validate(runner, features, labels)) == {"val_probe_cross_entropy", "val_probe_top1"}
    runner.evaluation_splits = Splits(dataset([0, 1, 2]), train, None, "test")
    assert hook.validate(runner, features, labels) == {}


def test_patches_are_not_taken_for_images_and_unlabelled_images_are_ignored():
    train = dataset([0, 1, -1, 1] * 5)
    hook, runner = started(train, train)
    pass_by(hook, runner, [0, 1], torch.ones(6, 1, 2, 2))
    assert hook.layer is None
    data = train.__getitems__([0, 1, 2, 3])
    hook.before_train_iter(runner, 0, data)
    images = torch.rand(4, 1, 2, 2)
    for batch in (torch.ones(8, 1, 2, 2), images, torch.ones(4, 1, 2, 2)):
        runner.model.backbone(batch)
    hook.device_step(runner, data, {})
    hook.after_train_iter(runner, 0, data)
    other, plain = started(train, train)
    pass_by(other, plain, [0, 1, 3], images[[0, 1, 3]])
    assert torch.equal(hook.layer.weight, other.layer.weight)
    assert runner.message_hub.get_scalar("train/probe_cross_entropy").current() == pytest.approx(np.log(2))
    # The monitor's own passes are not training steps.
    runner.model.backbone(torch.ones(4, 1, 2, 2))
    assert hook.features is None


@pytest.mark.parametrize("labels", [[-1] * 6, [0] * 6, [[0, 1]] * 6])
def test_no_probe_without_one_class_for_each_image(labels):
    task = "multi-label" if isinstance(labels[0], list) else "multi-class"
    hook, runner = started(dataset(labels, task=task))
    pass_by(hook, runner, [0, 1])
    assert hook.layer is None and "No online probe" in runner.said[0]
    checkpoint = {}
    hook.before_save_checkpoint(runner, checkpoint)
    assert not checkpoint


def test_validation_loss_by_hand():
    val = dataset([0] * 11)
    runner = fake_runner(dataset([0] * 9), val, batch_size=4)
    hook = ValidationLossHook(max_batches=2)
    torch.manual_seed(3)
    runner.model.train()
    figures = hook.measure(runner)
    assert torch.equal(torch.rand(4), torch.rand(4, generator=torch.Generator().manual_seed(3)))
    again = hook.measure(runner)  # the same views, wherever the run's random stream is
    assert figures == again and runner.model.training
    seen = runner.model.seen[:2]
    assert [len(views[0]) for views in seen] == [4, 4]  # two full batches
    rows = torch.cat([views[0].floor() for views in seen])
    assert len(rows.flatten(1).unique(dim=0)) == 8
    first = torch.stack([views[0].mean() for views in seen]).mean()
    second = torch.stack([views[1].mean() for views in seen]).mean()
    assert figures["val_loss"] == pytest.approx((first + second).item(), rel=1e-6)
    assert figures["val_positive_top1"] == pytest.approx((first / 9).item(), rel=1e-6)


def test_validation_loss_where_there_is_nothing_to_measure():
    hook, train = ValidationLossHook(), dataset([0] * 9)
    assert hook.measure(fake_runner(train)) == {}
    assert hook.measure(fake_runner(train, splits=False)) == {}
    assert hook.measure(fake_runner(train, dataset([0]))) == {}
    small = fake_runner(train, dataset([0] * 3))
    assert hook.measure(small) and len(small.model.seen[0][0]) == 3
    bank = Model()
    bank.uses_indices = True
    assert hook.measure(fake_runner(train, train, model=bank)) == {}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: OnlineProbeHook(lr=0), "OnlineProbeHook.lr is 0"),
        (lambda: FeatureMonitorHook(interval=0), "FeatureMonitorHook.interval is 0"),
        (lambda: ValidationLossHook(max_batches=0), "ValidationLossHook.max_batches is 0"),
    ],
)
def test_bad_settings(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_warning_when_the_features_stay_collapsed():
    hook, runner = FeatureMonitorHook(), fake_runner(dataset([0] * 4))
    low, high = 0.0099, 0.0101
    for epoch, std, warns in ((9, low, False), (19, high, False), (29, low, False), (39, low, True)):
        runner.epoch = epoch
        hook.warn_of_collapse(runner, std, 0.1, False)
        assert bool(runner.said) is warns, epoch
    assert "nearly the same features for every image" in runner.said[0] and "Since epoch 30" in runner.said[0]
    # After a resume a new hook reads earlier measurements from the message hub.
    FeatureMonitorHook().warn_of_collapse(runner, low, 0.1, False)
    assert "Since epoch 30" in runner.said[1]
    runner = fake_runner(dataset([0] * 4))
    hook.warn_of_collapse(runner, low, 0.1, True)
    assert "Since epoch 1" in runner.said[0]


def test_the_monitor_holds_out_whole_groups(monkeypatch):
    train, measured = dataset([0, 1] * 20, groups=np.arange(40) // 4), []

    def extract(embed, data, rows, **_):
        measured.append(rows)
        return torch.ones(len(rows), 4), data.labels[rows]

    monkeypatch.setattr(feature_monitor, "extract_features", extract)
    assert FeatureMonitorHook().measure(fake_runner(train))["knn_top1"] == 0.5
    bank, queries = (set(train.groups[rows.numpy()]) for rows in measured)
    assert len(bank) == 9 and len(queries) == 1 and not bank & queries


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=WORLD)
    init_default_scope("ssl_ext")
    train = dataset([0, 1, 2, -1] * 5)
    hook, runner = started(train, dataset([0] * 15))
    for rows in ([[0, 1, 2], [5, 6, 7]], [[3, 8, 9], [10, 11, 12]]):
        pass_by(hook, runner, rows[rank])
    scalars = {name: buffer.data for name, buffer in runner.message_hub.log_scalars.items()}
    figures = ValidationLossHook().measure(runner)
    seen = torch.stack([views[0].floor() for views in runner.model.seen])
    torch.save(
        dict(layer=hook.layer.state_dict(), scalars=str(scalars), figures=figures, seen=seen),
        f"{folder}/{rank}.pt",
    )
    dist.barrier()
    dist.destroy_process_group()


def test_two_processes_have_the_figures_of_the_joined_batch(tmp_path):
    # Forked, as imports in a new interpreter would take longer than all these tests.
    mp.start_processes(work, args=(str(tmp_path),), nprocs=WORLD, start_method="fork")
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(WORLD))
    for key in ("layer", "scalars", "figures"):
        assert equal(first[key], second[key]), key
    train = dataset([0, 1, 2, -1] * 5)
    hook, runner = started(train, train)
    for rows in ([0, 1, 2, 5, 6, 7], [3, 8, 9, 10, 11, 12]):
        pass_by(hook, runner, rows)
    for name, value in hook.layer.state_dict().items():
        torch.testing.assert_close(first["layer"][name], value, rtol=1e-5, atol=1e-7)
    assert str({n: b.data for n, b in runner.message_hub.log_scalars.items()}) == first["scalars"]
    # 15 images in batches of 4 for each of two processes: one batch of eight different images.
    assert first["seen"].shape[:2] == second["seen"].shape[:2] == (1, 4)
    joined = torch.cat([first["seen"], second["seen"]], dim=1).flatten(2)
    assert len(joined[0].unique(dim=0)) == 8


def test_the_time_of_a_step_is_the_mean_since_the_last_line(monkeypatch):
    """The host runs ahead and waits only at log lines."""
    clock = iter([0.0, 0.0, *(0.1 * i for i in range(1, 4)), 2.0, *(2.1, 2.2)])
    monkeypatch.setattr("time.time", lambda: next(clock))
    timer, hook, runner = IterTimerHook(), ThroughputHook(), fake_runner(dataset([0] * 8), batch_size=1)
    runner.hooks, runner.iter, runner.max_iters = [LoggerHook(interval=4)], 0, 8
    timer.before_train(runner)
    hook.before_train(runner)
    timer.before_train_epoch(runner)
    for index in range(6):
        runner.iter = index
        for one in (timer, hook):
            one.after_train_iter(runner, index, dict(inputs=torch.zeros(3)))
    hub = runner.message_hub
    assert [*hub.get_scalar("train/time").data[0]] == [0.5] * 4
    assert [*hub.get_scalar("train/images_per_second").data[0]] == [6.0]
    assert hub.get_info("eta") == pytest.approx(4 * 0.5)
