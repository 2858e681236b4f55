"""Damaged, foreign and malicious checkpoints in every place that reads one."""

import copy
import json
import pickle
import random
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from ssl_ext.apis import evaluate, pretrain
from ssl_ext.config.load import load_config
from ssl_ext.config.networks import build_model
from ssl_ext.engine import load_weights, newest_checkpoint, read_checkpoint
from ssl_ext.errors import UserError

RESUMED = [
    "cut 1",
    "text",
    "zeros",
    "code in a torch file",
    "an empty dict",
    "a list",
    "another model",
    "other sizes",
    "no state dict",
    "a state dict of text",
]


class Touch:
    """Object that creates a file when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


@pytest.fixture(scope="module")
def run(tiny_settings, tmp_path_factory):
    """Work directory and config of a run of one epoch."""
    config = Config(copy.deepcopy(tiny_settings))
    config.custom_hooks = [dict(type="RandomStateHook")]
    config.train_cfg.max_epochs = 1
    config.model.backbone.update(stem_channels=4, base_channels=4)
    config.model.neck.update(in_channels=32)
    folder = tmp_path_factory.mktemp("run")
    pretrain(config, work_dir=folder)
    return folder / "epoch_1.pth", config


def kinds(path, marker):
    """Invalid checkpoint contents by name: bytes, or objects for torch.save."""
    content, whole = path.read_bytes(), read_checkpoint(path)
    draw = random.Random(0)
    yield "empty", b""
    yield "text", b"not a checkpoint\n"
    yield "a web page", b"<!DOCTYPE html><html><body>404</body></html>"
    yield "JSON", json.dumps(dict(state_dict={})).encode()
    yield "zeros", bytes(1000)
    for number in range(8):
        yield f"cut {number}", content[: draw.randrange(1, len(content))]
    for number in range(8):
        start = draw.randrange(len(content) - 64)
        yield f"overwritten {number}", content[:start] + draw.randbytes(64) + content[start + 64 :]
    yield "a pickle with code", pickle.dumps(Touch(marker))
    yield "code in a torch file", dict(state_dict=dict(w=Touch(marker)))
    yield "an empty dict", {}
    yield "a list", [1, 2]
    yield "a tensor", torch.ones(3)
    yield "a number", 3
    yield "an empty state dict", dict(state_dict={})
    yield "no state dict", {key: value for key, value in whole.items() if key != "state_dict"}
    yield "a state dict of text", dict(state_dict=dict(w="text"))
    yield "another model", dict(whole, state_dict=torch.nn.Linear(3, 3).state_dict())
    yield "numbers as names", dict(state_dict={1: torch.ones(2), 2: torch.ones(2)})
    spoiled = {name: value * torch.nan for name, value in whole["state_dict"].items()}
    yield "NaN", dict(whole, state_dict=spoiled)
    other = {name: value.repeat_interleave(2, 0) for name, value in whole["state_dict"].items() if value.ndim}
    yield "other sizes", dict(whole, state_dict=other)


def written(path, content):
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)


def refused(call, path, label):
    """The call must raise a one-line error that names the file."""
    with pytest.raises(UserError) as error:
        call()
    text = str(error.value)
    assert str(path) in text and "\n" not in text, f"{label}: {text}"


@pytest.mark.filterwarnings("ignore")
def test_weights_and_runs_to_go_on_from(run, tmp_path):
    good, config = run
    marker, path, work_dir = tmp_path / "marker", tmp_path / "epoch_1.pth", tmp_path / "work"
    model = build_model(load_config(config))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    count = 0
    # Overwritten bytes may be tensor data, which torch does not verify.
    readable = 0
    for name, content in kinds(good, marker):
        written(path, content)
        if name.startswith("overwritten"):
            try:
                load_weights(model, path)
                readable += 1
                model.load_state_dict(before)
            except UserError as error:
                assert str(path) in str(error)
            continue
        refused(lambda: load_weights(model, path), path, name)
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items()), name
        count += 1
    assert count >= 25 and not marker.exists()
    assert {name for name, _ in kinds(good, marker)}.issuperset(RESUMED)
    for name, content in kinds(good, marker):
        if name in RESUMED:
            written(path, content)
            refused(lambda: pretrain(config, work_dir=work_dir, resume=str(path)), path, name)
            assert not [p.name for p in work_dir.glob("*") if p.is_file()], name
    assert not marker.exists()


@pytest.mark.filterwarnings("ignore")
def test_every_field_of_a_checkpoint_may_be_missing_or_wrong(run, tmp_path):
    good, config = run
    whole, path = read_checkpoint(good), tmp_path / "epoch_1.pth"
    config = load_config(config)
    config.train_cfg.max_epochs = 2
    whole.pop("message_hub")
    draw = random.Random(0)
    cases = [(key, value) for key in whole for value in ("deleted", None, 3, "text", [], {})]
    for number, (key, value) in enumerate(draw.sample(cases, 14)):
        changed = dict(whole)
        if value == "deleted":
            del changed[key]
        else:
            changed[key] = value
        torch.save(changed, path)
        try:
            pretrain(config, work_dir=tmp_path / str(number), resume=str(path))
        except UserError as error:
            assert str(path) in str(error) or "first training step" in str(error), f"{key}={value}: {error}"


def test_a_damaged_newest_file_is_passed_over(run, tmp_path):
    good, _ = run
    content = good.read_bytes()
    (tmp_path / "epoch_1.pth").write_bytes(content)
    for number, damage in enumerate((content[: len(content) // 2], b"", b"text"), start=2):
        (tmp_path / f"epoch_{number}.pth").write_bytes(damage)
    with pytest.warns(UserWarning, match="is damaged and was skipped"):
        assert newest_checkpoint(tmp_path).name == "epoch_1.pth"


def test_a_program_in_the_metadata_is_not_run_when_a_run_goes_on(run, tmp_path):
    """MMEngine executes the text under meta['config']."""
    good, config = run
    whole, marker = read_checkpoint(good), tmp_path / "marker"
    whole["meta"]["config"] = f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n"
    whole.pop("message_hub")
    torch.save(whole, tmp_path / "epoch_1.pth")
    with pytest.raises(UserError):  # the log is missing; the program must not have run before
        pretrain(config, work_dir=tmp_path / "work", resume=str(tmp_path / "epoch_1.pth"))
    assert not marker.exists()


def test_evaluation_refuses_before_it_writes(run, tmp_path):
    good, config = run
    path = tmp_path / "weights.pth"
    for content in (good.read_bytes()[:500], b"text"):
        path.write_bytes(content)
        refused(lambda: evaluate(config, path, out_dir=tmp_path / "out"), path, "")
    assert not (tmp_path / "out").exists()
