"""Mixed precision with loss scaling: a skipped step, and gradients that always overflow."""

import copy

import pytest
import torch
from methods import write_images
from mmengine.hooks import Hook
from mmengine.optim.optimizer import amp_optimizer_wrapper

from ssl_ext.apis import pretrain
from ssl_ext.engine import NonFiniteError, read_checkpoint
from ssl_ext.models.selfsup import BYOL
from ssl_ext.registry import HOOKS


@HOOKS.register_module()
class OverflowHook(Hook):
    """Make the scaled gradients of some steps infinite, as float16 does if the scale is too large."""

    def __init__(self, steps):
        self.steps = steps

    def before_train(self, runner):
        weight = runner.model.backbone.layer1[0].conv1.weight
        weight.register_hook(lambda gradient: gradient * (torch.inf if runner.iter + 1 in self.steps else 1))


@pytest.fixture
def scaled(prediction_config, tmp_path, monkeypatch):
    """A run of BYOL with a gradient scaler, on the CPU, in two epochs of four small batches."""
    monkeypatch.setattr(amp_optimizer_wrapper, "is_cuda_available", lambda: True)
    monkeypatch.setattr(
        amp_optimizer_wrapper, "GradScaler", lambda **options: torch.amp.GradScaler("cpu", **options)
    )

    def make(steps, init_scale=1024.0):
        config = prediction_config("BYOL")
        write_images(path := tmp_path / "images.npz")
        config.train_dataloader.batch_size = 12
        config.train_dataloader.dataset = dict(type="NPZDataset", split="train", data_root=str(path))
        config.custom_hooks = [dict(type="RandomStateHook"), dict(type="OverflowHook", steps=steps)]
        config.optim_wrapper.update(
            type="AmpOptimWrapper", dtype="bfloat16", loss_scale=dict(init_scale=init_scale)
        )
        return config

    return make


def test_a_step_that_is_left_out_stops_nothing_and_moves_no_momentum_network(scaled, monkeypatch, tmp_path):
    moves, copies = [], []
    monkeypatch.setattr(BYOL, "between_steps", lambda model, step: moves.append(step))
    original_step = BYOL.train_step

    def kept(model, data, optim_wrapper):
        copies.append(copy.deepcopy(model.state_dict()))
        return original_step(model, data, optim_wrapper)

    monkeypatch.setattr(BYOL, "train_step", kept)
    pretrain(scaled(steps=[2, 5]), work_dir=tmp_path)
    assert moves == [1, 3, 4, 6, 7, 8]
    for name, value in copies[1].items():  # before the second step and after it
        if not name.endswith(("running_mean", "running_var", "num_batches_tracked")):
            assert torch.equal(value, copies[2][name]), name
    saved = read_checkpoint(tmp_path / "epoch_2.pth")
    assert saved["optimizer"]["loss_scaler"]["scale"] == 256.0
    assert not list(tmp_path.glob("non_finite*"))


def test_gradients_that_never_fit_end_the_run(scaled, tmp_path):
    with pytest.raises(NonFiniteError, match="however small the scale of the loss") as error:
        pretrain(scaled(steps=range(100), init_scale=8.0), work_dir=tmp_path)
    # 8, 4, 2, 1, and below that.
    assert "step 4" in str(error.value)


def test_a_loss_that_is_not_finite_ends_the_run_at_once(scaled, tmp_path):
    config = scaled(steps=[])
    config.custom_hooks.append(dict(type="SpoilLossHook", step=3))
    with pytest.raises(NonFiniteError, match="Not finite at step 3.*'loss_"):
        pretrain(config, work_dir=tmp_path)


@HOOKS.register_module()
class SpoilLossHook(Hook):
    def __init__(self, step):
        self.step = step

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 == self.step:
            loss = runner.model.head.loss
            runner.model.head.loss = lambda *a, **k: {n: v * torch.nan for n, v in loss(*a, **k).items()}
