"""Harmless objects in checkpoints are read as inert values; programs and deep nesting are refused."""

import argparse
import collections
import pathlib
import zipfile

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub

from ssl_ext.engine.weights import read_checkpoint
from ssl_ext.engine.weights.stand_ins import STAND_INS, StandIn
from ssl_ext.errors import UserError


def _read(thing, tmp_path):
    torch.save(dict(state_dict=dict(w=torch.ones(2)), thing=thing), tmp_path / "a.pth")
    read = read_checkpoint(tmp_path / "a.pth")
    assert torch.equal(read["state_dict"]["w"], torch.ones(2))
    return read["thing"]


@pytest.mark.parametrize("thing", [argparse.Namespace(lr=1), pathlib.PurePosixPath("/a"), np.ones(3)])
def test_objects_are_stand_ins(thing, tmp_path):
    read = _read(thing, tmp_path)
    assert type(read) is StandIn and not vars(read)


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64, np.uint8, np.bool_])
def test_numpy_scalars_are_plain_numbers(kind, tmp_path):
    read = _read(kind(1.5), tmp_path)
    assert read == kind(1.5).item() and type(read) is type(kind(1.5).item())


def test_a_defaultdict_is_a_dict(tmp_path):
    read = _read(collections.defaultdict(list, a=[1]), tmp_path)
    assert type(read) is dict and read == {"a": [1]}


def test_message_hub_of_mmengine(tmp_path):
    hub = MessageHub.get_instance("stand_ins")
    hub.update_scalar("loss", 1.0)
    torch.save(dict(state_dict={}, message_hub=hub.state_dict()), tmp_path / "a.pth")
    assert read_checkpoint(tmp_path / "a.pth")["message_hub"]["log_scalars"] == {}


def test_nothing_real_stands_in():
    assert {made.__module__ for made in STAND_INS.values()} == {"ssl_ext.engine.weights.stand_ins"}


def test_no_function_or_class_of_numpy_is_called(tmp_path):
    names = [name for name in dir(np) if callable(getattr(np, name)) and f"numpy.{name}" not in STAND_INS]
    assert len(names) > 400
    for name in names:
        with pytest.raises(UserError, match=f"was rejected: loading it would run numpy.{name},"):
            read_checkpoint(_with_pickle(f"\x80\x02cnumpy\n{name}\n)R.".encode("latin1"), tmp_path))


def _with_pickle(data, tmp_path):
    torch.save({}, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as old, zipfile.ZipFile(tmp_path / "b.pth", "w") as new:
        for name in old.namelist():
            new.writestr(name, data if name.endswith("data.pkl") else old.read(name))
    return tmp_path / "b.pth"


class Runs:
    def __reduce__(self):
        return getattr, (pathlib.Path("x"), "touch")


def test_getattr_of_a_file_looks_nothing_up(tmp_path):
    assert STAND_INS["builtins.getattr"] is not getattr
    with pytest.raises(UserError, match="it would run getattr"):
        _read(Runs(), tmp_path)


@pytest.mark.parametrize("depth", [1000, 300_000])
def test_deeply_nested_keys_are_refused(depth, tmp_path):
    # Without the check the second one ends the process.
    with pytest.raises(UserError, match="nested more than 500 times"):
        read_checkpoint(_with_pickle(b"\x80\x02})" + b"\x85" * depth + b"K\x01s.", tmp_path))


def test_the_former_format_is_read(tmp_path):
    torch.save({"w": torch.ones(2)}, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    assert torch.equal(read_checkpoint(tmp_path / "a.pth")["w"], torch.ones(2))


def test_torchscript_is_named(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "a.pt")
    with pytest.raises(UserError, match="TorchScript") as error:
        read_checkpoint(tmp_path / "a.pt")
    assert "weights_only" not in str(error.value)
