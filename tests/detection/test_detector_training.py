"""Training a detector: initialisation, resuming, evaluation, two processes, learning."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torchvision
from killed_runs import output, run_differences, train
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper

from ssl_ext.apis import build_model, export, load_config, pretrain
from ssl_ext.detection import VOCDetection, collate_detection, detect, initialize
from ssl_ext.engine import load_weights, read_checkpoint, write_checkpoint
from ssl_ext.errors import UserError

ROOT = Path(__file__).parents[2]
STATISTICS = dict(mean=[0.1, 0.2, 0.3], std=[0.3, 0.2, 0.1])
WORLD = 2


@pytest.fixture
def pretrained(tiny_config, tmp_path):
    """A pretraining checkpoint whose width and statistics differ from the detector's config."""
    tiny_config.data_preprocessor.update(STATISTICS)
    tiny_config.model.backbone.update(
        stem_channels=4, base_channels=4, norm_cfg=dict(type="SplitBN", num_splits=2)
    )
    tiny_config.model.neck.in_channels = 32
    model = build_model(tiny_config)
    meta = dict(cfg=tiny_config.pretty_text)
    write_checkpoint(dict(meta=meta, state_dict=model.state_dict()), tmp_path / "pretrained.pth")
    return tmp_path / "pretrained.pth"


def rows(folder):
    return json.loads((folder / "detection.json").read_text())


def weights(path):
    return read_checkpoint(path)["state_dict"]


def assert_equal_states(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_a_checkpoint_brings_its_backbone_and_its_normalisation(detector_config, pretrained, tmp_path):
    detector_config.train_cfg.max_iters = 1
    detector_config.optim_wrapper.optimizer.lr = 0.0
    model = pretrain(detector_config, work_dir=tmp_path / "run", init=pretrained)
    assert model.backbone.conv1.out_channels == 4
    assert model.data_preprocessor.mean == tuple(STATISTICS["mean"])
    assert model.data_preprocessor.std == tuple(STATISTICS["std"])
    loaded = weights(pretrained)
    for name, value in model.backbone.named_parameters():
        assert torch.equal(value, loaded[f"backbone.{name}"]), name
    assert rows(tmp_path / "run")["checkpoint"] == str(pretrained)


def test_settings_of_init_go_before_those_of_the_checkpoint(detector_config, pretrained):
    detector_config.init.update(
        mean=[0.4] * 3, std=[0.25] * 3, channel_order="bgr", checkpoint="elsewhere.pth"
    )
    assert initialize(detector_config, pretrained) == str(pretrained)
    settings = detector_config.model.data_preprocessor
    assert settings.mean == [0.4] * 3 and settings.std == [0.25] * 3 and settings.channel_order == "bgr"


def test_a_pretraining_config_alone_gives_its_backbone_with_random_weights(detector_config, tiny_config_file):
    detector_config.model.backbone.update(depth=34, base_channels=16)
    detector_config.init.pretraining = str(tiny_config_file)
    assert initialize(detector_config) is None
    assert detector_config.model.backbone.depth == 18 and detector_config.model.backbone.base_channels == 8


def test_torchvisions_weights_come_with_the_statistics_of_imagenet(detector_config, tmp_path):
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "resnet18.pth")
    with pytest.raises(UserError, match="holds no config with the normalisation"):
        initialize(detector_config, tmp_path / "resnet18.pth")
    detector_config.init.pretraining = "torchvision"
    assert initialize(detector_config, tmp_path / "resnet18.pth")
    assert detector_config.model.data_preprocessor.mean == [0.485, 0.456, 0.406]


def test_random_weights_leave_the_config_as_it_is(detector_config):
    before = detector_config.model.to_dict()
    assert initialize(detector_config) is None
    assert detector_config.model.to_dict() == before


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(weights="x.pth"), r"unknown keys \['weights'\]"),
        (dict(pretraining="no/such.py"), "neither a config file nor 'torchvision'"),
        (dict(checkpoint="no/such.pth"), "does not exist"),
    ],
)
def test_wrong_settings_of_init_are_told(detector_config, settings, words):
    detector_config.init.update(settings)
    with pytest.raises(UserError, match=words):
        initialize(detector_config)


def test_another_stem_is_told(detector_config, pretrained):
    detector_config.model.backbone.type = "ResNet"
    with pytest.raises(UserError, match="is a ResNet_CIFAR, but the image and anchor sizes"):
        initialize(detector_config, pretrained)


def test_another_preprocessor_is_told(detector_config, tiny_config, tmp_path):
    tiny_config.model.data_preprocessor = dict(
        type="SelfSupDataPreprocessor", mean=[123.0] * 3, std=[58.0] * 3
    )
    tiny_config.dump(tmp_path / "other.py")
    detector_config.init.pretraining = str(tmp_path / "other.py")
    with pytest.raises(UserError, match="SelfSupDataPreprocessor"):
        initialize(detector_config)


def test_the_config_stored_in_the_weights_may_not_name_other_classes(detector_config, tiny_config, tmp_path):
    def start():
        return initialize(detector_config, tmp_path / "a.pth")

    backbone = tiny_config.model.backbone
    for place, value in (
        ("norm_cfg", dict(type="subprocess.Popen", args=["true"])),
        ("conv_cfg", dict(type="mmpretrain.subprocess.Popen")),
        ("act_cfg", dict(type="os.system")),
    ):
        changed = Config(
            dict(tiny_config, model=dict(tiny_config.model, backbone=dict(backbone, **{place: value})))
        )
        torch.save(dict(meta=dict(cfg=changed.pretty_text), state_dict={}), tmp_path / "a.pth")
        with pytest.raises(UserError, match=rf"model\.backbone\.{place}\.type='.*not a registered network"):
            start()
    for text in ("model = dict(type='SimCLR')", "model = dict(type='SimCLR', data_preprocessor=3)"):
        torch.save(dict(meta=dict(cfg=text), state_dict={}), tmp_path / "a.pth")
        with pytest.raises(UserError, match=r"config of|unknown data preprocessor"):
            start()


@pytest.mark.parametrize("wrapper", ["OptimWrapper", "BFloat16OptimWrapper"])
def test_a_killed_run_resumes_to_the_same_weights_and_figures(detector_config, pretrained, tmp_path, wrapper):
    """In float32 and as with ``--amp``: checkpoint, images and losses of the steps, and figures."""
    detector_config.optim_wrapper.type = wrapper
    detector_config.custom_hooks[1].interval = 2
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train(detector_config, whole, init=pretrained) == [0], output(whole)
    # Killed in its last step; resuming does not name the weights again.
    kill = dict(type="KillHook", step=3)
    assert train(detector_config, parts, init=pretrained, hooks=[kill]) == [-signal.SIGKILL], output(parts)
    first = rows(parts)
    assert [row["step"] for row in first["rows"]] == [2] and not (parts / "iter_4.pth").exists()
    assert train(detector_config, parts, resume=True) == [0], output(parts)
    assert not run_differences(whole, parts, "iter_4.pth")
    expected, found = rows(whole), rows(parts)
    assert found["checkpoint"] == str(pretrained) and found["rows"][0] == first["rows"][0]
    assert found["rows"][1]["training_seconds"] > first["rows"][0]["training_seconds"]
    for row in [*expected["rows"], *found["rows"]]:
        del row["training_seconds"]
    assert expected["rows"] == found["rows"]


def test_mixed_precision_computes_in_half_precision_and_finds_the_same_boxes(detector_config, tmp_path):
    """Convolutions run in bfloat16; losses, boxes and scores are float32 and close to those of float32."""
    torch.manual_seed(0)
    model = build_model(detector_config).eval()
    dtypes = set()
    for layer in (model.backbone.layer3[0].conv1, model.backbone.layer4[0].conv1):
        layer.register_forward_hook(lambda _, inputs, maps: dtypes.add(maps.dtype))
    settings = {key: v for key, v in detector_config.evaluation_dataset.items() if key != "type"}
    data = model.data_preprocessor(collate_detection([VOCDetection(**settings)[0]]))
    model.roi_heads.score_thresh = 0.0
    exact = model.predict(**data)
    dtypes.clear()
    with torch.autocast("cpu", torch.bfloat16):
        (found,) = model.predict(**data)
        for part in (model, model.rpn, model.roi_heads):
            part.training = True
        losses = model.loss(**data)
    assert dtypes == {torch.bfloat16}
    assert found["boxes"].dtype == found["scores"].dtype == torch.float32
    assert {value.dtype for value in losses.values()} == {torch.float32}
    assert (found["scores"].sort().values - exact[0]["scores"].sort().values).abs().max() < 0.05


@pytest.mark.parametrize("form", ["torchvision", "detectron2"])
def test_the_trunk_is_the_exported_backbone(detector_config, tiny_config, tmp_path, form):
    """A detector started from an export computes the features of the network that was exported."""
    tiny_config.data_preprocessor.update(STATISTICS)
    if form == "detectron2":
        tiny_config.model.backbone.update(depth=50)
        tiny_config.model.neck.in_channels = 256
    torch.manual_seed(3)
    model = build_model(tiny_config)
    for module in model.backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.normal_(module.running_mean, std=0.1)
    meta = dict(cfg=tiny_config.pretty_text)
    write_checkpoint(dict(meta=meta, state_dict=model.state_dict()), tmp_path / "a.pth")
    detector_config.model.backbone.update(
        {key: tiny_config.model.backbone[key] for key in ("depth", "stem_channels", "base_channels")}
    )
    path = export(tmp_path / "a.pth", form).path
    detector_config.train_cfg.max_iters, detector_config.optim_wrapper.optimizer.lr = 1, 0.0
    detector = pretrain(detector_config, work_dir=tmp_path / "run", init=path)
    assert detector.data_preprocessor.mean == tuple(STATISTICS["mean"])
    assert detector.data_preprocessor.std == tuple(STATISTICS["std"])
    # One step at rate 0 has changed the running statistics only.
    load_weights(detector, path)
    images = torch.randn(2, 3, 32, 48)
    (expected,), backbone = model.eval().backbone(images), detector.eval().backbone
    torch.testing.assert_close(backbone.layer4(backbone(images)[0]), expected)
    assert expected.std() > 1e-3


def test_measuring_changes_nothing_in_the_run(detector_config, tmp_path):
    pretrain(detector_config, work_dir=tmp_path / "end")
    detector_config.custom_hooks[1].interval = 1
    pretrain(detector_config, work_dir=tmp_path / "often")
    assert [row["step"] for row in rows(tmp_path / "often")["rows"]] == [1, 2, 3, 4]
    assert_equal_states(weights(tmp_path / "end" / "iter_4.pth"), weights(tmp_path / "often" / "iter_4.pth"))


def test_missing_or_other_evaluation_data_is_told_before_training(detector_config, tmp_path):
    detector_config.evaluation_dataset.classes = ("blue", "red")
    with pytest.raises(UserError, match="has the classes"):
        pretrain(detector_config, work_dir=tmp_path / "run")
    group = {f"{key}.group": "[0-9]" for key in ("train_dataloader.dataset", "evaluation_dataset")}
    detector_config.evaluation_dataset.classes = ("red", "blue")
    with pytest.raises(UserError, match="the group '0' has images in evaluation_dataset and in the training"):
        pretrain(detector_config, work_dir=tmp_path / "run", options=group)
    with pytest.raises(UserError, match=r"2 classes \(red, blue\), model.num_classes is 7; set it to 2"):
        pretrain(detector_config, work_dir=tmp_path / "run", options={"model.num_classes": 7})
    detector_config.evaluation_dataset.data_root = "no/such/folder"
    with pytest.raises(UserError, match="evaluation_dataset: .*no/such/folder"):
        pretrain(detector_config, work_dir=tmp_path / "run")
    detector_config.pop("evaluation_dataset")
    with pytest.raises(UserError, match="needs the config key evaluation_dataset"):
        pretrain(detector_config, work_dir=tmp_path / "run")


@pytest.mark.slow
def test_it_learns_to_find_coloured_squares(detector_config, tmp_path):
    detector_config.train_cfg.max_iters = 100
    detector_config.train_dataloader.batch_size = 4
    detector_config.default_hooks.checkpoint.interval = 100
    model = pretrain(detector_config, work_dir=tmp_path / "run")
    (row,) = rows(tmp_path / "run")["rows"]
    assert row["images"] == 8 and row["AP50"] > 0.9
    dataset = VOCDetection(**{k: v for k, v in detector_config.evaluation_dataset.items() if k != "type"})
    found = [sample["image_id"] for _, sample in detect(model, dataset, batch_size=3)]
    assert found == list(range(8)) and model.training


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_launcher_trains_and_measures_on_two_processes(detector_config, tmp_path):
    detector_config.train_cfg.max_iters = 2
    detector_config.dump(tmp_path / "tiny.py")
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = dict(
        os.environ,
        PYTHON=sys.executable,
        PORT=str(free_port()),
        PYTHONPATH=path,
        CUDA_VISIBLE_DEVICES="",
        OMP_NUM_THREADS="1",
    )
    tool = ROOT / "tools" / "dist_train.sh"
    command = ["bash", tool, tmp_path / "tiny.py", str(WORLD), "--work-dir", tmp_path / "run"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    table = rows(tmp_path / "run")
    assert table["processes"] == WORLD and [row["step"] for row in table["rows"]] == [2]
    # Both halves of the images were evaluated, with the weights of a single process.
    assert table["rows"][0]["images"] == 8


def two_images(config):
    """A detector without batch statistics whose samplers take every box, with one image per process."""
    config.model.rpn.batch_size = config.model.roi.batch_size = 100_000
    torch.manual_seed(0)
    model = build_model(config).eval()
    model.training = model.rpn.training = model.roi_heads.training = True
    settings = {key: value for key, value in config.train_dataloader.dataset.items() if key != "type"}
    dataset = VOCDetection(**settings)
    parts = [collate_detection([dataset[2 * index]]) for index in range(WORLD)]
    return model, [model.data_preprocessor(part) for part in parts]


def joined_worker(rank, config_path, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=WORLD)
    model, parts = two_images(load_config(config_path))
    wrapped = MMDistributedDataParallel(module=model, broadcast_buffers=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    terms = wrapped(**parts[rank], mode="loss")
    OptimWrapper(optimizer).update_params(sum(terms.values()))
    torch.save(dict(terms=terms, parameters=dict(model.named_parameters())), Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_take_the_mean_of_the_steps_of_their_images(detector_config, tmp_path):
    """Detection losses are means over the sampled boxes of a process, and over processes."""
    detector_config.dump(tmp_path / "tiny.py")
    arguments = (str(tmp_path / "tiny.py"), str(tmp_path))
    mp.start_processes(joined_worker, arguments, nprocs=WORLD, start_method="fork")
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=False) for rank in range(WORLD)]
    model, parts = two_images(load_config(tmp_path / "tiny.py"))
    terms = [model(**part, mode="loss") for part in parts]
    sum(sum(one.values()) for one in terms).div(WORLD).backward()
    for one, other in zip(found, terms, strict=True):
        for name, value in other.items():
            torch.testing.assert_close(one["terms"][name], value)
    for name, parameter in model.named_parameters():
        expected = parameter - 0.1 * parameter.grad
        for one in found:
            torch.testing.assert_close(one["parameters"][name], expected, atol=1e-6, rtol=1e-4)
