"""A run stopped by a signal or interrupted anywhere resumes to the result of an uninterrupted run."""

import copy
import os
import shutil
import signal

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook

from ssl_ext.apis import pretrain
from ssl_ext.engine import newest_checkpoint, read_checkpoint
from ssl_ext.registry import HOOKS

LAST = "epoch_3.pth"
STATES = ("state_dict", "optimizer", "param_schedulers", "random_states", "online_probe")


@HOOKS.register_module()
class SignalHook(Hook):
    """Send this process a signal at one step."""

    def __init__(self, step, number):
        self.step, self.number = step, number

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 == self.step:
            os.kill(os.getpid(), self.number)


def equal(a, b):
    if torch.is_tensor(a):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def assert_same_run(one, two):
    one, two = read_checkpoint(one), read_checkpoint(two)
    assert one.keys() == two.keys()
    for key in STATES:
        assert (key in one) == (key in two)
        assert equal(one.get(key), two.get(key)), key
    logged, again = (checkpoint["message_hub"]["log_scalars"] for checkpoint in (one, two))
    assert logged.keys() == again.keys()
    for name in logged:
        if "loss" in name or name.endswith("lr"):
            assert logged[name].data[0].tolist() == again[name].data[0].tolist(), name


def three_epochs(settings):
    """Three epochs of four steps."""
    config = Config(copy.deepcopy(settings))
    config.train_cfg.max_epochs = 3
    config.param_scheduler[0].update(T_max=3, convert_to_iter_based=True)
    config.custom_hooks.append(dict(type="OnlineProbeHook"))
    return config


@pytest.fixture
def config(tiny_settings):
    return three_epochs(tiny_settings)


@pytest.fixture(scope="module")
def whole(tiny_settings, tmp_path_factory):
    """Last checkpoint of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    pretrain(three_epochs(tiny_settings), work_dir=folder)
    return folder / LAST


# Within an epoch, at the last step of one, at the first of the next, and before the very last.
@pytest.mark.parametrize(("step", "number"), [(2, "SIGTERM"), (4, "SIGUSR1"), (5, "SIGINT"), (11, "SIGTERM")])
def test_a_signal_saves_and_the_run_goes_on_where_it_left(config, whole, tmp_path, step, number):
    cut = tmp_path / "cut"
    number = getattr(signal, number)
    signals = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    handlers = [signal.getsignal(n) for n in signals]
    stopping = config.copy()
    stopping.custom_hooks = [*config.custom_hooks, dict(type="SignalHook", step=step, number=int(number))]
    with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else SystemExit) as stop:
        pretrain(stopping, work_dir=cut)
    assert number == signal.SIGINT or stop.value.code == 143
    assert handlers == [signal.getsignal(n) for n in signals]
    assert newest_checkpoint(cut).name == "interrupted.pth"
    assert read_checkpoint(cut / "interrupted.pth")["meta"]["iter"] == step
    pretrain(config, work_dir=cut, resume="auto")
    assert_same_run(whole, cut / LAST)


def test_checkpoints_between_epochs_resume_exactly(config, tmp_path):
    config.default_hooks.checkpoint.update(by_epoch=False, interval=1)
    pretrain(config, work_dir=tmp_path / "often")
    for step in (1, 6):
        cut = tmp_path / f"cut{step}"
        pretrain(config, work_dir=cut, resume=tmp_path / "often" / f"iter_{step}.pth")
        assert_same_run(tmp_path / "often" / "iter_12.pth", cut / "iter_12.pth")


def test_damaged_checkpoints_are_passed_over_by_name(config, tmp_path):
    pretrain(config, work_dir=tmp_path)
    newest, older = tmp_path / LAST, tmp_path / "epoch_2.pth"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    with pytest.warns(UserWarning, match="epoch_3.pth' is damaged and was skipped"):
        assert newest_checkpoint(tmp_path) == older
    newest.write_bytes(content[: len(content) // 3])
    with pytest.warns(UserWarning, match="epoch_3.pth' is damaged"):
        assert newest_checkpoint(tmp_path) == older
    for path in (older, tmp_path / "epoch_1.pth"):
        path.write_text("not a checkpoint")
    with pytest.warns(UserWarning, match="is damaged") as warned:
        assert newest_checkpoint(tmp_path) is None
    assert len(warned) == 3


def test_old_checkpoints_go_only_after_the_new_one_is_there(config, tmp_path, monkeypatch):
    config.default_hooks.checkpoint.max_keep_ckpts = 1
    from ssl_ext.engine import runner

    seen = []

    def fail_at_the_third(checkpoint, path):
        seen.append(sorted(p.name for p in tmp_path.glob("epoch_*.pth")))
        if len(seen) == 3:
            raise OSError(28, "No space left on device", str(path))
        return write(checkpoint, path)

    write = runner.write_checkpoint
    monkeypatch.setattr(runner, "write_checkpoint", fail_at_the_third)
    with pytest.raises(OSError, match="No space left on device"):
        pretrain(config, work_dir=tmp_path)
    assert seen == [[], ["epoch_1.pth"], ["epoch_2.pth"]]
    assert [path.name for path in tmp_path.glob("*.pth")] == ["epoch_2.pth"]
    monkeypatch.undo()
    pretrain(config, work_dir=tmp_path, resume="auto")
    assert [path.name for path in tmp_path.glob("*.pth")] == [LAST]


def test_a_copy_of_the_work_dir_resumes_as_well(config, whole, tmp_path):
    shutil.copytree(whole.parent, tmp_path / "copy")
    (tmp_path / "copy" / LAST).unlink()
    pretrain(config, work_dir=tmp_path / "copy", resume="auto")
    assert_same_run(whole, tmp_path / "copy" / LAST)
