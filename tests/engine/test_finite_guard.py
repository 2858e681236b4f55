"""The first loss or gradient that is not finite stops the run, and nothing is saved afterwards."""

import pytest
import torch
from mmengine.hooks import Hook

from ssl_ext.apis import pretrain
from ssl_ext.engine import NonFiniteError, read_checkpoint
from ssl_ext.registry import HOOKS


@HOOKS.register_module()
class SpoilHook(Hook):
    """Make one loss term, or with ``what='gradient'`` one gradient, not finite at one step."""

    def __init__(self, step, what):
        self.step, self.what = step, what

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 != self.step:
            return
        if self.what == "gradient":
            weight = runner.model.backbone.layer1[0].conv1.weight
            weight.register_hook(lambda gradient: gradient.index_fill(0, torch.tensor([2]), torch.inf))
            return
        head = runner.model.head
        loss = head.loss
        head.loss = lambda *args, **kwargs: {
            name: value * (torch.nan if name == self.what else 1)
            for name, value in loss(*args, **kwargs).items()
        }


@pytest.mark.parametrize(
    ("what", "named"),
    [
        ("loss_virtual", "'loss_virtual'. The"),
        ("gradient", "the gradient of 'backbone.layer1.0.conv1.weight'. The"),
    ],
)
def test_term_step_and_images_are_named_and_the_batch_is_kept(tiny_config, tmp_path, what, named):
    tiny_config.default_hooks.checkpoint.interval = 1
    tiny_config.custom_hooks.append(dict(type="SpoilHook", step=6, what=what))
    with pytest.raises(NonFiniteError, match="Not finite at step 6") as error:
        pretrain(tiny_config, work_dir=tmp_path)
    message = str(error.value)
    assert named in message
    kept = read_checkpoint(tmp_path / "non_finite_rank0.pth")
    assert kept["step"] == 6
    first = ", ".join(map(str, kept["indices"][:8].tolist()))
    assert f"images {first} ..." in message
    assert kept["inputs"].dtype == torch.uint8 and len(kept["inputs"]) == len(kept["indices"])
    # Two epochs of four steps: the first is saved, and finite.
    assert sorted(path.name for path in tmp_path.glob("epoch_*.pth")) == ["epoch_1.pth"]
    state = read_checkpoint(tmp_path / "epoch_1.pth")["state_dict"]
    assert all(value.isfinite().all() for value in state.values())


def test_a_learning_rate_that_explodes_is_caught(tiny_config, tmp_path):
    tiny_config.optim_wrapper.optimizer = dict(type="SGD", lr=1e30)
    with pytest.raises(NonFiniteError, match="Lower the learning rate"):
        pretrain(tiny_config, work_dir=tmp_path)


def test_large_but_finite_gradients_pass(tiny_config, tmp_path):
    """The square of 1e25 overflows float32."""
    tiny_config.train_cfg.max_epochs = 1
    tiny_config.optim_wrapper.optimizer = dict(type="SGD", lr=0.0)
    tiny_config.model.head.update(virtual_weight=1e25)
    pretrain(tiny_config, work_dir=tmp_path)
    assert (tmp_path / "epoch_1.pth").is_file()
    assert not list(tmp_path.glob("non_finite*"))
