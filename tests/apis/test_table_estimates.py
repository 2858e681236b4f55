"""Estimates of time and memory: steps and hooks of a real training, and sums in closed form."""

import time

import pytest
from mmengine.hooks import Hook

from ssl_ext.apis.tables import estimate, estimates
from ssl_ext.apis.tables.estimate import Measured, measure
from ssl_ext.apis.tables.jobs import DONE, Job, State
from ssl_ext.apis.tables.plan import Cell, Plan
from ssl_ext.cli.train import shared_switches
from ssl_ext.errors import UserError
from ssl_ext.registry import HOOKS

MEASURED = dict(
    start=60.0, step=0.5, epochs=10, steps=7000, monitors={"Monitor": (12.0, 5)}, batch=8, resident=2**30,
    device=None, largest_batch=None, image=0.01, images=4000,
)  # fmt: skip


class SlowHook(Hook):
    """Sleeps before every step, and after every second epoch."""

    interval = 2

    def __init__(self):
        self.interval = 2

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        time.sleep(0.2)

    def after_train_epoch(self, runner):
        time.sleep(0.3)


def test_three_steps_and_the_hooks_of_a_training_are_timed(tiny_config, tmp_path, monkeypatch):
    monkeypatch.setitem(HOOKS._module_dict, "SlowHook", SlowHook)
    tiny_config.custom_hooks.append(dict(type="SlowHook"))
    slow = tmp_path / "slow.py"
    tiny_config.dump(slow)
    options = ["train_cfg.max_epochs=5"]
    found = measure(str(slow), options, time.time())
    per_epoch = found.steps // 5
    assert (found.epochs, found.batch, found.device, found.largest_batch) == (5, 256, None, None)
    assert per_epoch > 3 and found.images > 1000 and found.resident > 2**27
    assert found.step >= 0.2
    seconds, times = found.monitors["SlowHook"]
    assert seconds >= 0.3 and times == 3
    assert found.monitors["FeatureMonitorHook"][1] == found.monitors["CheckpointHook"][1] == 5
    assert found.start > 0 and found.image > 0


def test_a_config_without_data_is_one_sentence(tiny_config, tmp_path):
    tiny_config.train_dataloader.dataset = dict(
        type="NPZDataset", split="train", data_root=str(tmp_path / "none.npz")
    )
    path = tmp_path / "mine.py"
    tiny_config.dump(path)
    with pytest.raises(UserError, match=r"none\.npz"):
        measure(str(path), [], time.time())


def test_the_switches_of_the_trainings_are_set(tiny_config, tmp_path, monkeypatch):
    def stop(config, options, work_dir, **switches):
        raise UserError(str(switches))

    monkeypatch.setattr(estimate, "training_config", stop)
    with pytest.raises(UserError, match="{'amp': True, 'compile': False}"):
        measure("mine.py", [], time.time(), amp=True, compile=False)
    assert shared_switches(["--amp"]) == dict(
        amp=True, deterministic=False, compile=False, auto_scale_lr=False
    )


def test_sums_of_a_training():
    one = Measured(**MEASURED)
    assert one.training == 60 + 0.5 * 7000 + 5 * 12 and one.features == 40


def test_each_distinct_training_is_measured_once(monkeypatch):
    def train(name, config, seed, *options):
        command = ["ssl-ext", "train", f"{config}.py"]
        return Job(name, "pretrain", command, ".", config=config, options=list(options), seed=seed)

    jobs = {
        job.id: job
        for job in (train("a-0", "a", 0, "lr=1"), train("a-1", "a", 1, "lr=1"), train("b-0", "b", 0))
    }
    jobs["judge-a"] = Job("judge-a", "evaluate", ["ssl-ext", "evaluate"], ".", ["a-0"])
    jobs["judge-b"] = Job("judge-b", "evaluate", ["ssl-ext", "evaluate"], ".", ["b-0"])
    at = [{"method": name, "data": "x"} for name in "abc"]
    cells = [
        Cell(at[0], 0, None, "acc", evaluate="judge-a"),
        Cell(at[1], 0, None, "acc", evaluate="judge-b"),
        Cell(at[2], 0, None, "acc", note="no config"),
    ]
    plan = Plan("mine", None, ["method"], ["data"], "", "%", [], [0], cells, list(jobs))
    states = dict.fromkeys(jobs, State()) | {"a-1": State(DONE)}
    calls = []

    def measured(call, config, options, since, **switches):
        calls.append((config, options, switches))
        if config == "b.py":
            raise UserError("no data")
        return Measured(**MEASURED)

    monkeypatch.setattr(estimates, "in_a_new_process", measured)
    trainings, hours = estimates.estimate_table(plan, jobs, states, lambda text: None, dict(amp=True))
    assert calls == [("a.py", ["lr=1"], dict(amp=True)), ("b.py", [], dict(amp=True))]
    assert trainings.rows == [
        ["a", "lr=1", "7,000", "500.0", "1.0", "1,024", "1", "1.0"],
        ["b", "", "-", "-", "-", "-", "1", "-"],
    ]
    assert trainings.notes[:2] == ["b: no data", "All runs that are left, one after the other: 1.0 h."]
    assert hours.rows == [["a", "1.0"], ["b", "?"], ["c", "-"]]
