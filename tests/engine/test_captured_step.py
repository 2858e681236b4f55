"""A recorded and replayed step equals the plain step bit for bit."""

import re
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from killed_runs import differences
from methods import METHODS, write_images
from mmengine.optim import AmpOptimWrapper
from mmengine.registry import init_default_scope
from recorded_runs import FALLBACK, checkpoints_of, recordable_run
from watched_steps import WatchedRun

import ssl_ext
from ssl_ext.capture import CaptureError, Graph, Rates, Replayed, Tape, replayed
from ssl_ext.detection import FasterRCNN
from ssl_ext.engine import ModelStepHook, OnlineProbeHook, step, write_checkpoint
from ssl_ext.engine.optim_wrappers import OptimWrapper
from ssl_ext.errors import UserError
from ssl_ext.models.selfsup import BYOL
from ssl_ext.models.utils import block_mixing
from ssl_ext.models.utils.mixing import MixingPolicy

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available(), reason="bit for bit on the CPU; run with CUDA_VISIBLE_DEVICES="
)
OPTIMIZERS = {
    "SGD": dict(type="SGD", lr=0.03, momentum=0.9, weight_decay=1e-4, fused=True, _delete_=True),
    "AdamW": dict(type="AdamW", lr=1e-3, fused=True, _delete_=True),
    "LARS": dict(type="LARS", lr=0.3, _delete_=True),
}

# Calls per file that copy host data to tensors, outside a recorded step or cached.
HOST_DATA = re.compile(r"torch\.tensor\(|torch\.as_tensor\(|from_numpy\(|\.pin_memory\(")
ALLOWED = {
    "augment/base.py": 1,  # draws of a CPU generator
    "augment/fused.py": 1,  # constants, cached on the device
    "augment/jitter_forms.py": 2,  # likewise
    "augment/photometric.py": 1,  # buffers
    "losses/mixup_contrastive.py": 1,  # λ given as a Python number
    "mixups/co_mixup.py": 1,  # solved on the host
    "mixups/graph_cut.py": 2,
    "mixups/puzzlemix.py": 1,
    "mixups/transport.py": 1,
    "capture/numbers.py": 2,  # the numbers of a step, and batches
    "engine/hooks/classifier_evaluation.py": 1,  # between steps, as the labels below
    "engine/hooks/clusters.py": 1,
    "engine/hooks/feature_monitor.py": 2,
    "engine/hooks/online_probe.py": 2,
    "engine/hooks/random_state.py": 1,
    "engine/hooks/termination.py": 1,  # several processes only
    "models/classifiers/base.py": 1,  # labels of the data set, checked before training
    "models/selfsup/base.py": 1,  # numbers of a step that is not recorded
    "models/utils/cluster_bank.py": 1,  # the first clusters
    "models/utils/label_source.py": 1,  # labels of the data set
    "models/utils/mixing.py": 1,  # trial run when the policy is built
}
# Values that may differ between two steps.
MAY_CHANGE: dict[str, str] = {}


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    init_default_scope("ssl_ext")
    path = tmp_path_factory.mktemp("images") / "images.npz"
    write_images(path)
    return path


@pytest.fixture
def compare(tmp_path, monkeypatch):
    """Entries in which the checkpoints of the recorded and the plain run differ."""

    def find(config):
        replays = []
        original = Replayed.__call__

        def counted(replayed, key=None):
            replays.append(key in replayed.records)
            return original(replayed, key)

        plain = checkpoints_of(config, tmp_path / "plain", False, monkeypatch)
        monkeypatch.setattr(Replayed, "__call__", counted)
        recorded = checkpoints_of(config, tmp_path / "recorded", "dry", monkeypatch)
        monkeypatch.undo()
        assert sum(replays) >= len(replays) // 3
        return differences(plain, recorded)

    return find


@pytest.mark.parametrize("case", [case for case in METHODS if case not in FALLBACK])
def test_a_recorded_run_equals_the_plain_one_and_resumes(case, images, tmp_path, monkeypatch):
    """Weights, optimiser, probe, log values and random state of 21 steps, also if resumed within an epoch.

    The recorded step has no Python number that changes, and no more operations than the table allows.
    """
    config = recordable_run(case, images, every=5)
    with monkeypatch.context() as patch:
        patch.setattr(block_mixing, "COMPARED_EVERY", 2)  # so that both variants are replayed
        plain = checkpoints_of(config, tmp_path / "plain", False, patch)
        write_checkpoint(plain[1], tmp_path / "cut.pth")
        resumed = checkpoints_of(config, tmp_path / "on", "dry", patch, resume=tmp_path / "cut.pth")
        assert differences(plain[2:], resumed) == []
        watched = WatchedRun(patch)
        recorded = checkpoints_of(config, tmp_path / "recorded", "dry", patch)
    assert len(plain) == 5 and differences(plain, recorded) == [] and watched.replays >= 7
    assert watched.frozen_values() <= MAY_CHANGE.keys()
    most = watched.most_operations()
    assert most <= METHODS[case].operations, f"a step of {case} has {most} operations (tests/methods.py)"


@pytest.mark.parametrize("case", FALLBACK)
def test_what_cannot_be_recorded_says_why(case, images, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=f"captured_step='dry'.*: {FALLBACK[case]}"):
        checkpoints_of(recordable_run(case, images), tmp_path, "dry", monkeypatch)


@pytest.mark.parametrize(
    ("value", "options", "said"),
    [
        (True, {}, "captured_step=True: the training step cannot be recorded: there is no GPU"),
        ("dry", dict(activation_checkpointing=True), "activation_checkpointing restores random states"),
        ("dry", {"optim_wrapper.optimizer": dict(type="RMSprop", lr=0.1, _delete_=True)}, "RMSprop, whose"),
        ("often", {}, 'captured_step=\'often\'; it must be "auto", True, False or "dry"'),
    ],
)
def test_what_is_asked_for_in_vain_is_refused(value, options, said, images, tmp_path, monkeypatch):
    config = recordable_run("SimSiam", images)
    config.merge_from_dict(options)
    with pytest.raises(UserError, match=re.escape(said)):
        checkpoints_of(config, tmp_path, value, monkeypatch)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimiser(name, images, compare):
    config = recordable_run("BarlowTwins", images)
    config.merge_from_dict(
        {"optim_wrapper.optimizer": OPTIMIZERS[name], "optim_wrapper.clip_grad.max_norm": 0.1}
    )
    assert compare(config) == []


def test_groups_whose_rates_part_have_rates_of_their_own(images, compare, monkeypatch):
    """A hook halves the rate of one of two groups that began alike; the step is recorded again."""
    before = ModelStepHook.before_train_iter

    def halve_one(hook, runner, **batch):
        groups = runner.optim_wrapper.optimizer.param_groups
        assert groups[0]["initial_lr"] == groups[1]["initial_lr"]
        if runner.iter == 9:
            groups[0]["lr"] /= 2
        before(hook, runner, **batch)

    config = recordable_run("BarlowTwins", images)
    config.optim_wrapper.paramwise_cfg = dict(norm_decay_mult=0.0)
    config.optim_wrapper.optimizer.weight_decay = 1e-4
    with monkeypatch.context() as patch:
        patch.setattr(ModelStepHook, "before_train_iter", halve_one)
        assert compare(config) == []


def test_more_variants_than_recordings_get_a_warning(monkeypatch):
    monkeypatch.setattr(replayed, "MOST_RECORDINGS", 1)
    done = torch.zeros(())
    step = Replayed(lambda: done.add_(1), Tape, pytest.fail)
    for _ in range(5):
        step("first")
    with pytest.warns(UserWarning, match="1 variants of the step are recorded; the variant second runs"):
        for _ in range(5):
            step("second")
    assert done == 10 and list(step.records) == ["first"]


def test_mixed_precision(images, compare):
    """In bfloat16, with casts of the target's weights at fixed addresses."""
    assert compare(recordable_run("BYOL", images, **{"optim_wrapper.type": "BFloat16OptimWrapper"})) == []


def test_gradients_that_accumulate(images, compare):
    """27 batches of 16 in groups of 2; the last group has one batch."""
    config = recordable_run("MoCo", images, **{"optim_wrapper.accumulative_counts": 2}, epochs=9)
    assert compare(config) == []


SIZES = {"train_dataloader.batch_size": 18, "train_dataloader.drop_last": False}


def test_a_last_batch_of_another_size(images, compare):
    assert compare(recordable_run("BYOL", images, **SIZES)) == []


def test_a_run_that_resumes_with_a_smaller_batch_records_the_others(images, tmp_path, monkeypatch):
    config, made = recordable_run("BYOL", images, every=2, **SIZES), []
    plain = checkpoints_of(config, tmp_path / "plain", False, monkeypatch)
    write_checkpoint(plain[0], tmp_path / "cut.pth")
    record = Tape.record
    monkeypatch.setattr(Tape, "record", lambda tape, step: made.append(tape) or record(tape, step))
    resumed = checkpoints_of(config, tmp_path / "resumed", "dry", monkeypatch, resume=tmp_path / "cut.pth")
    assert differences(plain[1:], resumed) == [] and made


def test_a_step_whose_recording_fails_is_run_again(images, tmp_path, monkeypatch):
    """An update of two batches is that of the plain run, although the failed recording counted its batch."""

    def failing(runner):
        class Failing(Graph):
            def __init__(self, sibling=None):
                pass

            def record(self, step):
                runner.optim_wrapper._inner_count += 1
                failed.append(self)
                raise CaptureError("not this one")

        return Failing, False

    config, failed = recordable_run("MoCo", images, **{"optim_wrapper.accumulative_counts": 2}), []
    plain = checkpoints_of(config, tmp_path / "plain", False, monkeypatch)
    monkeypatch.setattr(step, "recorder_for", failing)
    again = checkpoints_of(config, tmp_path / "again", "auto", monkeypatch)
    assert len(failed) == 1 and differences(plain, again) == []


def test_a_resumed_run_whose_optimiser_is_refused_keeps_its_count(images, tmp_path, monkeypatch):
    """The last of 21 batches is an update of its own; without the count it would be none."""
    options = {"optim_wrapper.optimizer": dict(type="RMSprop", lr=1e-4, _delete_=True)}
    config = recordable_run("SimSiam", images, every=4, **options, **{"optim_wrapper.accumulative_counts": 2})
    plain = checkpoints_of(config, tmp_path / "plain", False, monkeypatch)
    write_checkpoint(plain[0], tmp_path / "cut.pth")
    monkeypatch.setattr(step, "recorder_for", lambda runner: (Tape, False))
    resumed = checkpoints_of(config, tmp_path / "resumed", "auto", monkeypatch, resume=tmp_path / "cut.pth")
    assert differences(plain[1:], resumed) == []


def test_batches_with_other_values_than_tensors_are_not_recorded(images, tmp_path, monkeypatch):
    take = step.TrainStep.__call__
    monkeypatch.setattr(
        step.TrainStep, "__call__", lambda self, batch: take(self, {**batch, "names": ["a"] * 16})
    )
    with pytest.raises(UserError, match="BYOL's step cannot be recorded: its batches have values that"):
        checkpoints_of(recordable_run("BYOL", images), tmp_path, "dry", monkeypatch)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (dict(processes=2), "there are 2 processes"),
        (dict(wrapper=AmpOptimWrapper), "the host reads the loss scale of float16"),
        (dict(model="CoMixup"), "co_mixup solves graph cuts on the host"),
        (dict(model="FasterRCNN"), "the numbers of proposals and sampled boxes depend on the images"),
        (dict(cfg=dict(compile=dict(mode="max-autotune"))), "compile.mode='max-autotune' records its own"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_on_a_gpu_one_line_says_why_a_step_is_not_recorded(settings, reason, monkeypatch):
    models = {
        "CoMixup": type("CoMixup", (), dict(capture_obstacle=MixingPolicy("co_mixup").capture_obstacle)),
        "FasterRCNN": type("FasterRCNN", (), dict(capture_obstacle=FasterRCNN.capture_obstacle)),
        "BYOL": type("BYOL", (), dict(capture_obstacle=None)),
    }
    lines, name = [], settings.get("model", "BYOL")
    runner = SimpleNamespace(
        cfg=settings.get("cfg", {}),
        model=models[name](),
        optim_wrapper=object.__new__(settings.get("wrapper", OptimWrapper)),
        param_schedulers=[],
        logger=SimpleNamespace(info=lines.append),
    )
    monkeypatch.setattr(step, "get_world_size", lambda: settings.get("processes", 1))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert step.recorder_for(runner) == (None, False)
    (line,) = lines
    assert line.startswith(f"{name}'s training step runs eagerly: {reason}")


def float_rates(monkeypatch):
    monkeypatch.setattr(Rates, "in_step", lambda rates, numbers: nullcontext())


def float_momentum(monkeypatch):
    def follow(model, numbers):
        for network in model.ema_networks():
            parameters = [(*part.backbone.parameters(), *part.neck.parameters()) for part in (network, model)]
            torch._foreach_lerp_(*parameters, 1 - float(momentum[0]))

    def before(model, step, iteration, batch=None):
        momentum[0] = model.step_numbers(step, 21)["momentum"]

    momentum = [1.0]
    monkeypatch.setattr(BYOL, "before_step", before)
    monkeypatch.setattr(BYOL, "after_update", torch.no_grad()(follow))


def work_of_a_python_hook(monkeypatch):
    monkeypatch.setattr(OnlineProbeHook, "device_step", lambda *args: None)
    original = OnlineProbeHook._listen

    def learn(hook, backbone, inputs, outputs):
        original(hook, backbone, inputs, outputs)
        if hook.layer is None and hook.features is not None:
            hook._start(hook.features)
        hook.seen = getattr(hook, "seen", 0) + 1
        with torch.no_grad():
            hook.layer.bias.fill_(hook.seen)

    monkeypatch.setattr(OnlineProbeHook, "_listen", learn)


@pytest.mark.parametrize("fault", [float_rates, float_momentum, work_of_a_python_hook])
def test_values_that_a_replay_would_freeze_are_seen(fault, images, compare, monkeypatch):
    with monkeypatch.context() as patch:
        fault(patch)
        assert compare(recordable_run("BYOL", images, epochs=4)) != []


def test_a_value_that_the_host_reads_is_named(images, tmp_path, monkeypatch):
    original = BYOL.loss

    def loss(model, inputs, data_samples=None):
        losses = original(model, inputs, data_samples)
        losses["loss_prediction"].item()
        return losses

    monkeypatch.setattr(BYOL, "loss", loss)
    with pytest.raises(UserError, match="BYOL's step cannot be recorded: item"):
        checkpoints_of(recordable_run("BYOL", images), tmp_path, "dry", monkeypatch)


def test_step_code_takes_no_data_from_the_host():
    """A graph would repeat the values of its recording."""
    package, found = Path(ssl_ext.__file__).parent, {}
    for room in ("augment", "losses", "mixups", "models", "engine/hooks", "capture"):
        for path in sorted((package / room).rglob("*.py")):
            lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith(">>>")]
            if count := len(HOST_DATA.findall("\n".join(lines))):
                found[path.relative_to(package).as_posix()] = count
    assert found == ALLOWED
