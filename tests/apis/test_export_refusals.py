"""Export errors, after which no file is written."""

import importlib
import sys

import pytest
import torch
from mmengine.config import Config

from ssl_ext.apis import build_model, export, load_config, timm_resnet, torchvision_resnet
from ssl_ext.cli.export import main as export_tool
from ssl_ext.config.stored import config_of_checkpoint, read_plain_config
from ssl_ext.engine import write_checkpoint
from ssl_ext.errors import UserError, run_tool
from ssl_ext.exporting import TorchvisionFile, largest_difference

BACKBONE = dict(type="ResNet_CIFAR", depth=18, out_indices=(3,), stem_channels=8, base_channels=8)


def settings(backbone=(), **changes):
    return Config(
        dict(
            model=dict(type="PlainBackbone", backbone={**BACKBONE, **dict(backbone)}),
            data_preprocessor=dict(mean=[0.5] * 3, std=[0.25] * 3),
        )
        | changes
    )


def write(path, config, meta):
    write_checkpoint(dict(meta=meta, state_dict=build_model(load_config(config)).state_dict()), path)
    return path


@pytest.fixture
def checkpoint(tmp_path):
    config = settings()
    return write(tmp_path / "epoch_1.pth", config, dict(cfg=config.pretty_text))


@pytest.mark.parametrize(
    ("to", "backbone", "words"),
    [
        ("detectron2", {}, r"base_channels=8.*ResNet-18.*--to torchvision"),
        ("torchvision", dict(depth=50, style="caffe"), r"style is 'caffe'.*--to detectron2"),
        ("torchvision", dict(avg_down=True), r"avg_down is True.*safetensors"),
        ("torchvision", dict(norm_cfg=dict(type="GN", num_groups=2)), r"GroupNorm.*safetensors"),
        ("torchvision", dict(norm_cfg=dict(type="BN", eps=1e-3)), r"eps is 0\.001.*safetensors"),
        ("torchvision", dict(out_indices=(2,)), r"out_indices.*safetensors"),
        ("torchvision", dict(strides=(1, 1, 2, 2)), r"strides.*safetensors"),
        ("torchvision", dict(type="ResNetV1d", stem_channels=16), r"ResNetV1d, not a ResNet.*safetensors"),
    ],
)
def test_networks_that_a_library_does_not_have(to, backbone, words, tmp_path):
    config = settings(backbone)
    path = write(tmp_path / "epoch_1.pth", config, dict(cfg=config.pretty_text))
    with pytest.raises(UserError, match=words):
        export(path, to)
    assert [file.name for file in tmp_path.iterdir()] == ["epoch_1.pth"]


def test_a_difference_stops_the_export(checkpoint, monkeypatch):
    encode = TorchvisionFile.encode

    def off(self, backbone, about):
        backbone.layer3[0].bn2.bias.data += 0.01
        data = encode(self, backbone, about)
        backbone.layer3[0].bn2.bias.data -= 0.01
        return data

    monkeypatch.setattr(TorchvisionFile, "encode", off)
    with pytest.raises(UserError, match=r"differ.*nothing was written"):
        export(checkpoint, "torchvision")
    assert not (checkpoint.parent / "export").exists()


def test_wrong_normalisation_and_broken_weights_are_differences():
    model = build_model(load_config(settings())).eval()

    def network(images):
        return model.backbone(images)[-1].mean((2, 3))

    right = dict(mean=[0.5] * 3, std=[0.25] * 3, size=16)
    assert largest_difference(network, model, model.backbone, **right) <= 1e-6
    with pytest.raises(UserError, match="differ"):
        largest_difference(network, model, model.backbone, **{**right, "std": [0.26] * 3})
    with pytest.raises(UserError, match="features"):
        largest_difference(lambda x: network(x)[:, 1:], model, model.backbone, **right)
    model.backbone.conv1.weight.data.fill_(float("nan"))
    with pytest.raises(UserError, match="nan"):
        largest_difference(network, model, model.backbone, **right)


def test_a_file_that_is_there_stays_unless_told(checkpoint, tmp_path):
    out = tmp_path / "out.pth"
    out.write_bytes(b"mine")
    with pytest.raises(UserError, match=r"exists.*--overwrite"):
        export(checkpoint, "torchvision", out=out)
    assert out.read_bytes() == b"mine"
    export(checkpoint, "torchvision", out=out, overwrite=True)
    assert torch.load(out, weights_only=True)["meta"]["method"] == "PlainBackbone"
    before = checkpoint.read_bytes()
    with pytest.raises(UserError, match="exists"):
        export(checkpoint, "torchvision", out=checkpoint, overwrite=True)
    assert checkpoint.read_bytes() == before
    for place in (tmp_path, out / "below.pth"):
        with pytest.raises(UserError, match=r"exists: give another --out\.|cannot be written to .*--out"):
            export(checkpoint, "torchvision", out=place, overwrite=True)
    with pytest.raises(UserError, match="does not exist"):
        export(tmp_path / "none.pth", "torchvision", out=out, overwrite=True)


def test_bad_words(checkpoint):
    with pytest.raises(UserError, match=r"--to is 'caffe'; allowed are torchvision, timm"):
        export(checkpoint, "caffe")
    with pytest.raises(UserError, match=r"--image-size is 0"):
        export(checkpoint, "timm", image_size=0)
    with pytest.raises(UserError, match=r"--network is 'momentum'; PlainBackbone has online\."):
        export(checkpoint, "torchvision", network="momentum")
    with pytest.raises(UserError, match="does not exist"):
        export(checkpoint.parent / "none.pth", "torchvision")
    with pytest.raises(ValueError, match="depth is 20; allowed are 18"):
        torchvision_resnet(20)
    with pytest.raises(ValueError, match="stem is 'small'; allowed are imagenet, cifar"):
        timm_resnet(18, stem="small")


def test_momentum_weights_that_are_not_in_the_file(tiny_config, tmp_path):
    tiny_config.model.update(type="MoCo", queue_size=16, head=dict(type="MoCoHead", temperature=0.2))
    model = build_model(tiny_config)
    write_checkpoint(dict(state_dict=model.backbone.state_dict()), tmp_path / "plain.pth")
    with pytest.raises(UserError, match=r"lacks .*'momentum'.*--network online"):
        export(tmp_path / "plain.pth", "torchvision", config=tiny_config, network="momentum")


def test_two_momentum_networks_have_two_names(prediction_config, tmp_path):
    config = prediction_config("TriBYOL", target_update="alternate")
    path = write(tmp_path / "a.pth", config, dict(cfg=config.pretty_text))
    with pytest.raises(UserError, match=r"TriBYOL has online, momentum-1, momentum-2\."):
        export(path, "safetensors", network="momentum")
    assert export(path, "safetensors", network="momentum-2").about["network"] == "momentum-2"


@pytest.mark.parametrize(
    ("to", "module"), [("timm", "timm"), ("onnx", "onnxruntime"), ("onnx", "onnxscript")]
)
def test_a_missing_package_is_one_sentence(to, module, checkpoint, monkeypatch):
    found = importlib.import_module

    def without(name, *args):
        if name.split(".")[0] == module:
            raise ImportError(name)
        return found(name, *args)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(UserError, match=rf"--to {to} needs {module}.*pip install 'ssl-ext\[export\]'"):
        export(checkpoint, to)


def test_an_exporter_that_fails_is_one_sentence(checkpoint, monkeypatch):
    def fail(*_, **__):
        raise TypeError("no such opset\nand more")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(UserError, match=r"--to onnx: .*\(TypeError: no such opset\)\.$"):
        export(checkpoint, "onnx")


def test_the_config_is_found_inside_beside_or_named(tmp_path):
    text = settings().pretty_text
    inside = config_of_checkpoint(tmp_path / "a.pth", dict(meta=dict(cfg=text)))
    assert inside.model.type == "PlainBackbone"
    with pytest.raises(UserError, match=r"no config in it or beside it.*--config"):
        config_of_checkpoint(tmp_path / "a.pth", {})
    (tmp_path / "run.py").write_text(text)
    assert config_of_checkpoint(tmp_path / "a.pth", dict(meta={})).model == inside.model
    (tmp_path / "run.py").write_text("_base_ = 'base.py'\n" + text)
    with pytest.raises(UserError, match=r"run\.py.*_base_.*--config"):
        config_of_checkpoint(tmp_path / "a.pth", {})
    (tmp_path / "run.py").write_text(text)
    (tmp_path / "other.py").write_text(text)
    with pytest.raises(UserError, match=r"2 config files beside it.*--config"):
        config_of_checkpoint(tmp_path / "a.pth", {})
    assert config_of_checkpoint(tmp_path / "a.pth", {}, tmp_path / "run.py").model == inside.model


@pytest.mark.parametrize("inside", [True, False])
def test_a_config_that_came_with_the_weights_is_never_run(inside, tmp_path):
    trace = tmp_path / "trace"
    text = f"model = dict(type='PlainBackbone')\nx = open({str(trace)!r}, 'w')\n"
    (tmp_path / "run.py").write_text("" if inside else text)
    with pytest.raises(UserError, match=r"line 2: open.*--config"):
        config_of_checkpoint(tmp_path / "a.pth", dict(meta=dict(cfg=text)) if inside else {})
    assert not trace.exists()


def test_plain_configs_are_read_as_mmengine_writes_them(tiny_config):
    tiny_config.odd = {"a-b": 1, "c": {"d e": (1, -2.5, None, True)}}
    tiny_config.listed = [dict(a=1), [1, (2,)], "text with 'quotes'"]
    tiny_config.far = float("-inf")
    assert read_plain_config(tiny_config.pretty_text) == tiny_config.to_dict()
    for text in ("import os", "a = b", "a = dict(**b)", "a.b = 1", "a = {**b}", "for a in []: pass"):
        with pytest.raises(ValueError, match="line 1"):
            read_plain_config(text)


def test_tool_says_what_it_wrote_and_ends_with_a_sentence(checkpoint, capsys, monkeypatch):
    monkeypatch.setattr(
        sys, "argv", ["export.py", str(checkpoint), "--to", "torchvision", "--image-size", "16"]
    )
    export_tool()
    said = capsys.readouterr().out
    assert f"wrote {checkpoint.parent / 'export' / 'epoch_1_torchvision.pth'}" in said
    assert "tensors matched" in said
    assert "channels RGB, mean [0.5, 0.5, 0.5], std [0.25, 0.25, 0.25]" in said
    assert "net.load_state_dict(torch.load('" in said
    with pytest.raises(SystemExit) as stop:
        run_tool(export_tool)
    assert stop.value.code == 2
    assert "--overwrite" in capsys.readouterr().err
