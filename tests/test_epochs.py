"""``--epochs``: every shipped schedule ends with the training, after its own warm-up."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper

from ssl_ext import pretrain
from ssl_ext.apis.pretrain import prepare
from ssl_ext.config.epochs import set_epochs
from ssl_ext.config.training import training_config
from ssl_ext.engine import PretrainRunner
from ssl_ext.engine.loop import EpochLoop
from ssl_ext.errors import UserError

CONFIGS = Path(__file__).parents[1] / "configs"
STEPS = 3
NAMES = [
    *sorted(path.stem for path in (CONFIGS / "_base_/schedules").glob("*.py")),
    "w_mse/w-mse_resnet18_1xb512-adam-1000e_cifar10",
    "moco/moco_resnet18_1xb256-sgd-800e_stl10",
    "trimix/trimix-t0.1_resnet18-w16_1xb64-adam-100e_digits",
]


def read(name):
    return Config.fromfile(CONFIGS / f"{name if '/' in name else f'_base_/schedules/{name}'}.py")


def rates(config):
    """Learning rates of a training, relative to the optimiser's, by MMEngine's runner."""
    wrapper = OptimWrapper(torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0))
    epochs = config.train_cfg.max_epochs
    loop = EpochLoop.__new__(EpochLoop)
    runner = SimpleNamespace(
        max_epochs=epochs, max_iters=epochs * STEPS, train_dataloader=range(STEPS), _train_loop=loop
    )
    runner.logger = SimpleNamespace(debug=lambda text: None)
    schedulers = PretrainRunner._build_param_scheduler(runner, config.get("param_scheduler") or [], wrapper)
    found = []
    for step in range(1, epochs * STEPS + 1):
        wrapper.step()
        found.append(wrapper.param_groups[0]["lr"])
        for scheduler in schedulers:
            if not scheduler.by_epoch or step % STEPS == 0:
                scheduler.step()
    return found


def expected(schedulers, epochs, milestones=()):
    """The same by formula: a warm-up of a fixed length, then a cosine to the last step, or milestones."""
    wanted = [1.0] * (epochs * STEPS)
    for scheduler in schedulers:
        if scheduler.type == "LinearLR":
            length, low = scheduler.end * (STEPS if scheduler.by_epoch else 1), scheduler.start_factor
            factors = [low + (1 - low) * min(step / (length - 1), 1) for step in range(len(wanted))]
        elif scheduler.type == "CosineAnnealingLR":
            begin = scheduler.get("begin", 0) * STEPS
            low = scheduler.get("eta_min_ratio", scheduler.get("eta_min", 0))
            share = [max(step - begin, 0) / (len(wanted) - begin) for step in range(len(wanted))]
            factors = [low + (1 - low) * (1 + math.cos(math.pi * part)) / 2 for part in share]
        else:
            passed = [sum(step >= STEPS * epoch for epoch in milestones) for step in range(len(wanted))]
            factors = [scheduler.gamma**count for count in passed]
        wanted = [rate * factor for rate, factor in zip(wanted, factors, strict=True)]
    return wanted


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_schedule_ends_with_the_training(name):
    config = read(name)
    given = config.get("param_scheduler") or []
    for epochs, milestones in ((20, [18, 19]), (80, [76, 78])):
        changed = read(name)
        set_epochs(changed, epochs)
        assert rates(changed) == pytest.approx(expected(given, epochs, milestones), rel=1e-6)
    # The shipped length changes nothing.
    same = read(name)
    set_epochs(same, config.train_cfg.max_epochs)
    assert same.to_dict() == config.to_dict()


def test_milestones_are_counted_from_the_begin_of_their_schedule():
    config = Config(dict(train_cfg=dict(max_epochs=100)))
    config.param_scheduler = dict(type="MultiStepLR", milestones=[45, 89], begin=10)
    set_epochs(config, 30)
    assert config.param_scheduler.milestones == [10, 19]


@pytest.mark.parametrize("milestones", [[60, 60], [80, 60], [60, 90], [0, 60]])
def test_milestones_increase_and_are_reached(milestones):
    scheduler = dict(type="MultiStepLR", milestones=milestones, begin=10)
    config = Config(dict(train_cfg=dict(max_epochs=100), param_scheduler=[scheduler]))
    with pytest.raises(UserError) as caught:
        set_epochs(config, 50)
    assert f"has milestones={milestones}, which must increase and lie between 0 and 90" in str(caught.value)


def test_a_warm_up_in_steps_ends_before_the_run(tiny_config, tmp_path):
    """Two epochs of the digits have 8 steps."""
    warm_up = dict(type="LinearLR", start_factor=0.1, by_epoch=False, end=8)
    tiny_config.param_scheduler = [warm_up, *tiny_config.param_scheduler]
    fault = r"--epochs 2: param_scheduler.0 \(LinearLR\) warms up for 8 steps, the run has 8;"
    with pytest.raises(UserError, match=fault):
        pretrain(tiny_config, epochs=2, work_dir=tmp_path)
    config = training_config(tiny_config, {"param_scheduler.0.end": 7}, epochs=2, work_dir=tmp_path)
    prepare(config, None, None, {}, False, epochs=2)


def test_a_longer_run_moves_a_written_end():
    config = read("lars-cosine-1000e")
    set_epochs(config, 2000)
    warm_up, cosine = config.param_scheduler
    assert (warm_up.end, cosine.begin, cosine.T_max, cosine.end) == (10, 10, 1990, 2000)


COSINE = dict(type="CosineAnnealingLR", by_epoch=True)


@pytest.mark.parametrize(
    ("epochs", "scheduler", "fault"),
    [
        (0, COSINE, "at least 1 is needed"),
        (5, dict(type="LinearLR", by_epoch=True, end=5), "warms up for 5 epochs"),
        (5, dict(COSINE, begin=5), "begins after 5 epochs"),
        (5, dict(COSINE, T_max=30), "has T_max=30 in 100 epochs"),
        (5, dict(COSINE, end=90), "ends after 90 epochs, the run after 100"),
        (5, dict(COSINE, by_epoch=False, T_max=500), "is counted in steps"),
        (2, dict(type="MultiStepLR", milestones=[60, 80]), "has 2 milestones"),
        (5, dict(type="ExponentialLR", gamma=0.9), "has a length of its own"),
    ],
)
def test_a_schedule_that_cannot_end_there_is_refused(epochs, scheduler, fault):
    config = Config(dict(train_cfg=dict(by_epoch=True, max_epochs=100), param_scheduler=scheduler))
    with pytest.raises(UserError, match=rf"^--epochs {epochs}: .*{fault}"):
        set_epochs(config, epochs)


def test_steps_and_two_numbers_of_epochs_are_refused(tiny_config):
    for options in ({"train_cfg.max_epochs": 3}, {"train_cfg": {"max_epochs": 3}}):
        with pytest.raises(UserError, match="Give either --epochs or train_cfg.max_epochs"):
            training_config(tiny_config, options, epochs=4)
    tiny_config.train_cfg = dict(by_epoch=False, max_iters=10)
    with pytest.raises(
        UserError, match="--epochs 4: the config counts steps; .* --cfg-options train_cfg.max_iters=10"
    ):
        training_config(tiny_config, epochs=4)
