"""The model's step methods: iterations at which they are called, and exact resuming."""

import pytest
import torch
from killed_runs import differences
from mmengine.optim import OptimWrapper

from ssl_ext.apis import pretrain
from ssl_ext.engine import read_checkpoint
from ssl_ext.models.selfsup import BYOL
from ssl_ext.models.utils import momentum_at


@pytest.fixture
def config(prediction_config):
    def change(*args, **options):
        config = prediction_config(*args, **options)
        config.custom_hooks = [dict(type="RandomStateHook")]
        return config

    return change


@pytest.fixture
def calls(monkeypatch):
    """Calls in a run, in order: steps of the optimiser and of the model."""
    calls = []

    def record(owner, name, note):
        original = getattr(owner, name)

        def wrapped(self, *args, **kwargs):
            calls.append(note(*args))
            return original(self, *args, **kwargs)

        monkeypatch.setattr(owner, name, wrapped)

    record(OptimWrapper, "step", lambda *_: "optimiser")
    record(BYOL, "after_update", lambda numbers: round(float(numbers["momentum"]), 6))
    record(BYOL, "between_steps", lambda step: step)
    return calls


def iterations(count):
    """Options of a short run over iterations instead of epochs."""
    return {
        "train_cfg": dict(by_epoch=False, max_iters=count, _delete_=True),
        "train_dataloader.batch_size": 32,
        "param_scheduler": [],
        "default_hooks.checkpoint": dict(type="CheckpointHook", by_epoch=False, interval=count),
    }


def test_steps_are_those_of_the_optimiser_when_gradients_accumulate(config, calls, tmp_path):
    options = {"train_dataloader.batch_size": 256, "optim_wrapper.accumulative_counts": 3}
    pretrain(config("BYOL"), work_dir=tmp_path, options=options)
    # 2 epochs of 4 iterations: every third one updates, and the last one of the run.
    momenta = [round(momentum_at(step, 3, 0.996, "cosine"), 6) for step in (1, 2, 3)]
    assert calls == ["optimiser", momenta[0], 1, "optimiser", momenta[1], 2, "optimiser", momenta[2], 3]


def test_runs_that_count_iterations_pass_on_the_same_steps(config, calls, tmp_path):
    pretrain(config("BYOL"), work_dir=tmp_path, options=iterations(2))
    assert calls == ["optimiser", 0.996, 1, "optimiser", 0.998, 2]


def test_the_momentum_network_follows_the_weights_after_the_step(config, tmp_path):
    byol = config("BYOL", momentum=0.0, momentum_schedule="constant")
    model = pretrain(byol, work_dir=tmp_path, options=iterations(1))
    online = {**dict(model.backbone.named_parameters()), **dict(model.neck.named_parameters())}
    target = {**dict(model.target.backbone.named_parameters()), **dict(model.target.neck.named_parameters())}
    assert all(torch.equal(target[name], value) for name, value in online.items())


def test_a_variant_is_chosen_before_every_batch_of_an_optimiser_step(config, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(BYOL, "step_variant", lambda self, *args: seen.append(args))
    options = {"train_dataloader.batch_size": 256, "optim_wrapper.accumulative_counts": 3}
    pretrain(config("BYOL"), work_dir=tmp_path, options=options)
    assert seen == [(1, 1), (1, 2), (1, 3), (2, 4), (2, 5), (2, 6), (3, 7), (3, 8)]


def test_resume_after_an_odd_step_continues_targets_and_schedule_exactly(config, tmp_path):
    tribyol = config("TriBYOL", target_update="alternate", momentum=0.9, momentum_schedule="cosine")
    # 3 iterations an epoch: the first epoch ends after target 1 was updated.
    tribyol.train_dataloader.batch_size = 359
    pretrain(tribyol, work_dir=tmp_path / "whole")
    pretrain(tribyol, work_dir=tmp_path / "resumed", resume=tmp_path / "whole" / "epoch_1.pth")

    whole = read_checkpoint(tmp_path / "whole" / "epoch_2.pth")
    resumed = read_checkpoint(tmp_path / "resumed" / "epoch_2.pth")
    for key in ("state_dict", "optimizer", "param_schedulers", "random_states"):
        assert differences(whole[key], resumed[key], key) == []
    half = read_checkpoint(tmp_path / "whole" / "epoch_1.pth")
    assert half["meta"]["iter"] == 3
    weights = [half["state_dict"][f"targets.{i}.neck.fc0.weight"] for i in range(2)]
    assert not torch.equal(*weights)
