"""Changed settings of a resumed run: applied with the right value, or rejected by name."""

import copy
import json
import math
import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from killed_runs import output, train
from methods import tiny_run, write_images
from mmengine.hooks import Hook

from ssl_ext.apis import pretrain
from ssl_ext.engine import newest_checkpoint, resuming
from ssl_ext.errors import UserError
from ssl_ext.registry import HOOKS


def make_function():
    return lambda: None


RATES, WHOLE = [], []
STEPS_PER_EPOCH = 3
LR = 1e-3


@HOOKS.register_module()
class RateHook(Hook):
    """Records the learning rate of every step, and the images of it."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        group = runner.optim_wrapper.param_groups[0]
        RATES.append((batch_idx, group["lr"], group["weight_decay"], data_batch["indices"].tolist()))


@HOOKS.register_module()
class InfiniteWeightsHook(Hook):
    """The update of the last step makes a weight infinite."""

    priority = "HIGH"

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == runner.max_iters:
            with torch.no_grad():
                next(runner.model.backbone.parameters()).view(-1)[0] = math.inf


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("resumed")


@pytest.fixture(scope="module")
def base(folder):
    write_images(folder / "images.npz")
    arrays = dict(np.load(folder / "images.npz"))
    # Two images more than fill the batches of an epoch.
    arrays.update({key: np.concatenate([arrays[key], arrays[key][:2]]) for key in ("x_train", "y_train")})
    np.savez(folder / "images.npz", **arrays)
    config = tiny_run("SimCLR", folder / "images.npz")
    config.custom_hooks = [dict(type="RandomStateHook"), dict(type="RateHook")]
    config.default_hooks.checkpoint.max_keep_ckpts = -1
    return config


@pytest.fixture(scope="module")
def run(base, folder):
    """Work dir of a run of two epochs of three steps, with a checkpoint after each step."""
    RATES.clear()
    pretrain(base.copy(), work_dir=folder / "run")
    WHOLE[:] = RATES
    return folder / "run"


@pytest.fixture
def resumed(base, run, tmp_path):
    """Goes on after a step with changed settings; index, rate, decay and images of every step taken."""

    def go(step=4, config=base, *, epochs=None, **options):
        RATES.clear()
        pretrain(
            copy.deepcopy(config),
            work_dir=tmp_path / f"again{step}",
            resume=run / f"iter_{step}.pth",
            epochs=epochs,
            options=options,
        )
        return list(RATES)

    return go


def cosine(step, steps, lr=LR):
    return lr * (1 + math.cos(math.pi * step / steps)) / 2


LONGER = {"train_cfg.max_epochs": 4, "param_scheduler.0.T_max": 4}


@pytest.mark.parametrize(
    ("options", "lr", "decay"),
    [
        ({"epochs": 4}, LR, 0),
        ({**LONGER, "optim_wrapper.optimizer.lr": 5e-4}, 5e-4, 0),
        ({**LONGER, "optim_wrapper.optimizer.weight_decay": 0.1}, LR, 0.1),
    ],
)
def test_a_longer_schedule_goes_on_at_its_own_rate(resumed, options, lr, decay, capsys):
    taken = resumed(4, **options)
    assert [index for index, *_ in taken] == [1, 2, 0, 1, 2, 0, 1, 2]
    expected = [cosine(step, 4 * STEPS_PER_EPOCH, lr) for step in range(4, 12)]
    assert [rate for _, rate, *_ in taken] == pytest.approx(expected, rel=1e-6)
    assert {wd for _, _, wd, _ in taken} == {decay}
    assert "train_cfg.max_epochs was 2 and is 4" in capsys.readouterr().out


@pytest.mark.parametrize("step", [2, 3])
def test_schedules_of_epochs_and_steps_together_reach_the_rate_of_a_whole_run(base, resumed, step, tmp_path):
    config = copy.deepcopy(base)
    config.train_cfg.max_epochs = 4
    config.param_scheduler = [
        dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=5),
        dict(type="StepLR", step_size=1, gamma=0.5, by_epoch=True),
    ]
    RATES.clear()
    pretrain(copy.deepcopy(config), work_dir=tmp_path / "whole")
    whole = [rate for _, rate, *_ in RATES]
    assert [rate for _, rate, *_ in resumed(step, config)] == pytest.approx(whole[step:], rel=1e-6)


def test_an_unchanged_run_goes_on_with_the_rates_and_images_of_the_whole_run(run, resumed):
    assert [rate for _, rate, *_ in WHOLE] == pytest.approx([cosine(step, 6) for step in range(6)], rel=1e-6)
    assert resumed(4) == WHOLE[4:]


def test_every_epoch_has_its_own_order_of_the_images(run):
    steps = [images for *_, images in WHOLE]
    first, second = (sum(steps[start : start + STEPS_PER_EPOCH], []) for start in (0, STEPS_PER_EPOCH))
    assert len(set(first)) == len(first) and len(set(second)) == len(second)
    assert first != second and first != sorted(first)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_dataloader.batch_size": 8}, r"were 16 \(1 process\(es\) of 16\) and are 8"),
        ({"train_dataloader.drop_last": False}, "steps in an epoch .*drop_last.* was 3 and is 4"),
        ({"randomness.seed": 1}, "randomness.seed was 0 and is 1"),
        (
            {"optim_wrapper.optimizer": dict(type="SGD", lr=0.1, _delete_=True)},
            "optim_wrapper.optimizer.type was 'Adam' and is 'SGD'",
        ),
        ({"optim_wrapper.accumulative_counts": 2}, "accumulative_counts was 'not set' and is 2"),
        ({"model.head.temperature": 0.9}, "model.head.temperature was .* and is 0.9"),
        ({"views.0.transforms.0.scale": (0.1, 1.0)}, r"views.0.transforms.0.scale.0 was 0.5 and is 0.1"),
    ],
)
def test_other_changes_are_refused_by_name(resumed, options, message):
    with pytest.raises(UserError, match=message):
        resumed(4, **options)
    assert RATES == []


@pytest.mark.parametrize(("count", "message"), [(40, "number of training images"), (None, "fingerprint")])
def test_other_images_are_refused(base, resumed, folder, tmp_path, count, message):
    arrays = dict(np.load(folder / "images.npz"))
    arrays = {key: value[:count] for key, value in arrays.items()}
    arrays["x_train"] = arrays["x_train"][::-1]
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(UserError, match=message):
        resumed(4, **{"train_dataloader.dataset.data_root": str(tmp_path / "other.npz")})


def changed_copy(path, target, change):
    checkpoint = torch.load(path, weights_only=True)
    change(checkpoint)
    torch.save(checkpoint, target)
    return target


def test_a_checkpoint_without_optimiser_is_refused(base, run, tmp_path):
    path = changed_copy(run / "iter_4.pth", tmp_path / "weights.pth", lambda c: c.pop("optimizer"))
    with pytest.raises(UserError, match="no optimiser state.*--init"):
        pretrain(copy.deepcopy(base), work_dir=tmp_path / "again", resume=path)


def test_an_older_checkpoint_without_settings_resumes(base, run, tmp_path, capsys):
    path = changed_copy(run / "iter_4.pth", tmp_path / "old.pth", lambda c: c["meta"].pop("run"))
    RATES.clear()
    pretrain(copy.deepcopy(base), work_dir=tmp_path / "again", resume=path)
    assert [index for index, *_ in RATES] == [1, 2]
    assert "does not record the config of its run" in capsys.readouterr().out
    with pytest.raises(UserError, match="saved after 1 epochs and 4 steps"):
        options = {"train_dataloader.batch_size": 8}
        pretrain(copy.deepcopy(base), work_dir=tmp_path / "b", resume=path, options=options)


def test_a_seed_that_the_config_leaves_open_is_that_of_the_run(base, tmp_path):
    config = copy.deepcopy(base)
    config.randomness = {}
    RATES.clear()
    pretrain(copy.deepcopy(config), work_dir=tmp_path / "whole")
    whole = [images for *_, images in RATES]
    RATES.clear()
    pretrain(copy.deepcopy(config), work_dir=tmp_path / "again", resume=tmp_path / "whole" / "iter_4.pth")
    assert [images for *_, images in RATES] == whole[4:]


def test_a_finished_run_says_so_and_the_newest_is_that_of_the_last_step(base, run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "copy")
    os.utime(tmp_path / "copy" / "iter_6.pth", (1, 1))
    assert newest_checkpoint(tmp_path / "copy").name == "iter_6.pth"
    RATES.clear()
    # Saved after the last step, but before the end of its epoch: all that is left is that end.
    pretrain(copy.deepcopy(base), work_dir=tmp_path / "copy", resume="auto")
    assert RATES == []
    config = copy.deepcopy(base)
    config.default_hooks.checkpoint.by_epoch = True
    pretrain(copy.deepcopy(config), work_dir=tmp_path / "epochs")
    capsys.readouterr()
    pretrain(copy.deepcopy(config), work_dir=tmp_path / "epochs", resume=True)
    assert "The run is finished: 6 of 6 steps" in capsys.readouterr().out


def test_infinite_weights_are_not_saved(base, tmp_path):
    config = copy.deepcopy(base)
    config.custom_hooks = [*config.custom_hooks, dict(type="InfiniteWeightsHook")]
    with pytest.raises(FloatingPointError, match="after the last update: backbone.*No checkpoint"):
        pretrain(config, work_dir=tmp_path)
    assert newest_checkpoint(tmp_path).name == "iter_5.pth"


def seen(folder, world):
    """Images of every step that all processes took together."""
    records = [torch.load(folder / f"rank{rank}.pt")["steps"] for rank in range(world)]
    return [sorted(sum((step["indices"] for step in steps), [])) for steps in zip(*records, strict=True)]


@pytest.mark.parametrize(
    ("before", "after"),
    [(1, 2), (2, 1), *(pytest.param(*n, marks=pytest.mark.slow) for n in ((8, 4), (4, 8)))],
)
def test_another_number_of_processes_with_the_same_images_in_a_step_is_applied(base, tmp_path, before, after):
    config = copy.deepcopy(base)
    config.train_dataloader.batch_size = 16 // before
    folder = tmp_path / "run"
    kill = dict(type="KillHook", step=4)
    assert train(config, tmp_path / "whole", world=before) == [0] * before
    assert train(config, folder, world=before, hooks=[kill]) == [-9] * before
    refused = train(config, folder, world=after, resume="auto")
    assert refused == [2] * after
    images = [f"{16 * world // before} ({world} process(es) of {16 // before})" for world in (before, after)]
    assert f"train_dataloader.batch_size) were {images[0]} and are {images[1]}" in output(folder)
    config.train_dataloader.batch_size = 16 // after
    assert train(config, folder, world=after, resume="auto") == [0] * after, output(folder)
    assert f"the number of processes was {before} and is {after}" in output(folder)
    # The rest of the epoch has the images that an uninterrupted run would have seen.
    assert seen(folder, after) == seen(tmp_path / "whole", before)[4:]


def test_gradients_of_an_unfinished_update_are_not_lost_with_their_processes(base, tmp_path):
    config = copy.deepcopy(base)
    config.optim_wrapper.accumulative_counts = 2
    assert train(config, tmp_path / "run", hooks=[dict(type="KillHook", step=3)]) == [-9]
    config.train_dataloader.batch_size = 8
    assert train(config, tmp_path / "run", world=2, resume="auto") == [2, 2]
    assert "was 1 and is 2, but each process holds gradients of an incomplete" in output(tmp_path / "run")


@pytest.mark.parametrize("values", [(math.nan, math.nan), (make_function(), make_function()), (1, 1.0)])
def test_settings_whose_text_differs_between_processes_are_unchanged(base, run, tmp_path, values):
    """NaN, functions (told from others by an address), and whole numbers of another type."""
    before, now = (json.loads(json.dumps({"model.extra": value}, default=resuming._text)) for value in values)
    path = changed_copy(
        run / "iter_4.pth", tmp_path / "a.pth", lambda c: c["meta"]["run"].update(config=json.dumps(before))
    )
    facts = {**torch.load(path, weights_only=True)["meta"]["run"], "config": json.dumps(now)}
    assert resuming.changed_settings(SimpleNamespace(facts=facts), path) == []
    facts["config"] = json.dumps({"model.extra": "other"})
    with pytest.raises(UserError, match="model.extra was .* and is 'other'"):
        resuming.changed_settings(SimpleNamespace(facts=facts), path)
