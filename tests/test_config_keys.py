"""Reading configs and overrides: unknown keys, values, classes, home folder, byte order mark."""

import argparse
from pathlib import Path

import mmpretrain
import numpy as np
import pytest
import torch
from mmengine.config import Config

from ssl_ext.apis import load_config, parse_options
from ssl_ext.cli.arguments import add_options
from ssl_ext.config.arguments import check_arguments
from ssl_ext.config.keys import check_file_keys
from ssl_ext.config.training import training_config
from ssl_ext.errors import UserError
from ssl_ext.registry import DATASETS, MODELS

MMPRETRAIN = sorted((Path(mmpretrain.__file__).parent / ".mim" / "configs").glob("[a-z]*/*.py"))


@pytest.mark.parametrize(
    ("option", "nearest"),
    [
        ("train_dataloder.batch_size=8", "train_dataloader.batch_size"),
        ("evaluation_datset.image_size=8", "evaluation_dataset.image_size"),
        ("modle.head.temperature=2.0", "model.head.temperature"),
        ("max_epochs=1", "train_cfg.max_epochs"),
        ("custom_hook=[]", "custom_hooks"),
    ],
)
def test_an_override_that_nothing_reads_names_the_nearest_key(tiny_config_file, option, nearest):
    with pytest.raises(UserError, match=f"did you mean {nearest}\\?"):
        load_config(tiny_config_file, parse_options([option]))


@pytest.mark.parametrize("option", ["foo=1", "xyz.batch_size=8", "a=[1]", "learning_rate=0.1"])
def test_an_override_near_no_key_is_offered_none(tiny_config_file, option):
    with pytest.raises(UserError, match=r"the key [a-z_]+ is unknown; give the whole key, such as train_cfg"):
        load_config(tiny_config_file, parse_options([option]))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "train_cfg.max_epoch=1",
            r"key train_cfg.max_epoch of EpochLoop; did you mean train_cfg.max_epochs\?",
        ),
        (
            "train_cfg.max_iters=1",
            "key train_cfg.max_iters of EpochLoop; known are by_epoch, dynamic_intervals, ",
        ),
        ("train_cfg.by_epoch=False", "key train_cfg.max_epochs of IterLoop; known are .*max_iters"),
        ("train_cfg={'_delete_':True,'by_epoch':False}", "The config lacks train_cfg.max_iters"),
        ("train_cfg={'_delete_':True,'max_iters':3}", "The config lacks train_cfg.by_epoch"),
        (
            "optim_wrapper.accumulate=2",
            "key optim_wrapper.accumulate of OptimWrapper; known are accumulative",
        ),
        ("optim_wrapper.optimizer.weight_deacy=1", "did you mean optim_wrapper.optimizer.weight_decay"),
        ("optim_wrapper.optimizer.type=Adm", "optim_wrapper.optimizer: type='Adm' is not a registered optim"),
        ("optim_wrapper.type=Amp", "optim_wrapper: type='Amp' is not a registered optimizer wrapper"),
        ("param_scheduler.0.Tmax=3", "of CosineAnnealingLR; did you mean param_scheduler.0.T_max"),
        ("param_scheduler.0.type=CosineLR", "param_scheduler.0: type='CosineLR' is not a registered"),
        ("param_scheduler=[{'type':'ReduceOnPlateauLR'}]", "ReduceOnPlateauLR needs metrics of a valid"),
        (
            "param_scheduler=[{'type':'LinearLR'},{'type':'ReduceOnPlateauMomentum','patience':3}]",
            "param_scheduler.1: ReduceOnPl",
        ),
    ],
)
def test_arguments_of_training_are_checked_before_any_work(tiny_config_file, option, message):
    assert training_config(tiny_config_file, parse_options(["param_scheduler.0.eta_min=0.1"]))
    with pytest.raises(UserError, match=message):
        training_config(tiny_config_file, parse_options([option]))


def test_classes_of_the_user_take_any_argument_that_they_pass_on(tiny_config):
    class Loop:
        pass

    class Optimizer(torch.optim.SGD):
        def __init__(self, params, *, mine, **kwargs):
            super().__init__(params, **kwargs)

    tiny_config.train_cfg = dict(type=Loop, anything=1)
    tiny_config.optim_wrapper.optimizer = dict(type=Optimizer, lr=0.1, mine=1, nesterov=True)
    check_arguments(tiny_config)
    tiny_config.optim_wrapper.optimizer.nesterow = True
    with pytest.raises(UserError, match="optimizer.nesterow of Optimizer; did you mean .*nesterov"):
        check_arguments(tiny_config)


def test_overrides_of_keys_that_a_config_lacks_and_of_its_own_variables_are_taken(tiny_config_file):
    with open(tiny_config_file, "a") as file:
        file.write("\nshared_size = 8\n")
    options = parse_options(["resume=True", "channels_last=True", "shared_size=9", "init='~/w.pth'"])
    config = load_config(tiny_config_file, options)
    assert config.resume and config.channels_last and config.shared_size == 9


@pytest.mark.parametrize(
    ("key", "near"), [("modle", "model"), ("train_datalodr", "train_dataloader"), ("view", "views")]
)
def test_a_file_with_a_mistyped_key_is_refused(tiny_config_file, key, near):
    with open(tiny_config_file, "a") as file:
        file.write(f"\n{key} = dict(a=1)\n")
    with pytest.raises(UserError, match=f"has the unknown key {key}; did you mean {near}\\?"):
        load_config(tiny_config_file)


@pytest.mark.parametrize("key", ["img_size", "dataset_type", "train_pipeline", "inits_of_all", "_model"])
def test_a_helper_variable_passes(key):
    check_file_keys(Config({key: 1}))


@pytest.mark.parametrize("path", MMPRETRAIN[:: len(MMPRETRAIN) // 50 or 1][:50], ids=lambda path: path.stem)
def test_configs_of_mmpretrain_load(path):
    assert "model" in load_config(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("/data/my images/x.npz", "/data/my images/x.npz"),
        ("data/a,b (1).npz", "data/a,b (1).npz"),
        ("['red fox', 'gray wolf']", ["red fox", "gray wolf"]),
        ("[red fox,gray wolf]", ["red fox", "gray wolf"]),
        ("[('2007', 'trainval')]", [("2007", "trainval")]),
        ("{'x': [1, {'y': None}]}", {"x": [1, {"y": None}]}),
        ("1,2.5,true", [1, 2.5, True]),
        ("(0.2,1)", (0.2, 1)),
        ("(red,blue)", ("red", "blue")),
        ("'1,2'", "1,2"),
        ("it's", "it's"),
        ("1e-3", 1e-3),
        ("", ""),
    ],
)
def test_values_of_overrides(text, value):
    got = parse_options([f"key={text}"])["key"]
    assert got == value and type(got) is type(value)


@pytest.mark.parametrize("text", ["[1,2", "1)", "{a: 1}", "[" * 3000 + "]" * 3000])
def test_values_that_are_none(text):
    with pytest.raises(UserError, match="--cfg-options"):
        parse_options([f"key={text}"])


def test_overrides_given_twice_add_up():
    parser = argparse.ArgumentParser()
    add_options(parser)
    given = parser.parse_args(["--cfg-options", "a=1", "b=2", "--cfg-options", "c=3"])
    assert given.options == ["a=1", "b=2", "c=3"]


def test_the_home_folder(tiny_config_file, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_config(tiny_config_file, {"work_dir": "~/runs"}).work_dir == str(tmp_path / "runs")
    assert training_config(tiny_config_file, work_dir="~/runs").work_dir == str(tmp_path / "runs")
    np.savez(tmp_path / "a.npz", x_train=np.zeros((4, 8, 8, 3), np.uint8), y_train=np.arange(4))
    assert len(DATASETS.build(dict(type="NPZDataset", split="train", data_root="~/a.npz"))) == 4


def test_a_byte_order_mark_is_no_part_of_a_config(tiny_config_file):
    expected = load_config(tiny_config_file).to_dict()
    base = tiny_config_file.rename(tiny_config_file.with_name("base.py"))
    base.write_bytes(b"\xef\xbb\xbf" + base.read_bytes())
    tiny_config_file.write_bytes(b"\xef\xbb\xbf_base_ = 'base.py'\n")
    assert load_config(tiny_config_file).to_dict() == expected


def test_classes_count_like_their_names(tiny_config_file):
    text = tiny_config_file.read_text().replace("type='TriMix'", "type=TriMix")
    imports = (
        "import torch\nfrom ssl_ext.models.selfsup import TriMix\nfrom mmpretrain.models import ResNet\n"
        "from ssl_ext.engine.hooks import FeatureMonitorHook, ValidationLossHook\n"
    )
    hooks = "custom_hooks = [dict(type=FeatureMonitorHook, interval=1), dict(type=ValidationLossHook)]\n"
    others = "other = [dict(type=torch.Tensor), dict(type=torch.optim.SGD), dict(type=ResNet)]\n"
    tiny_config_file.write_text(f"{imports}{text}\n{hooks}{others}")
    config = load_config(tiny_config_file)
    assert config.model.type == "TriMix"
    assert [hook.type for hook in config.custom_hooks] == ["FeatureMonitorHook", "ValidationLossHook"]
    # A class that is not registered stays.
    assert [item.type for item in config.other] == [torch.Tensor, "SGD", MODELS.get("ResNet").__name__]
