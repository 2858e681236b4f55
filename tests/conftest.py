import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import copy
import sys
import tempfile
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from yapf.yapflib import yapf_api

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
# Starts autograd. After a fake CUDA tensor it would start a thread, with which no forked process can train.
torch.ones(1, requires_grad=True).backward()

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "tools"))  # for the package `benchmarks`
# Doctest collection would import it again, under the name of the conftest.py that was loaded last.
collect_ignore_glob = ["conftest.py", "*/conftest.py"]
CHANNELS = 8
# The file that takes longest, many times the others: first, so that no process waits for it at the end.
LONGEST = "test_pages.py"
# Laying out the config takes half of a tiny training, because it is done again for every checkpoint.
FORMAT_CODE = yapf_api.FormatCode
yapf_api.FormatCode = lambda text, **_: (text, False)

if os.path.isdir("/dev/shm"):
    # MMEngine copies every config and its bases to temporary folders, which takes long on a disk.
    in_memory = partial(tempfile.TemporaryDirectory, dir="/dev/shm")
    sys.modules[Config.__module__].tempfile = SimpleNamespace(
        **{**vars(tempfile), "TemporaryDirectory": in_memory}
    )

READ_FILE = Config._file2dict


@cache
def read_shipped(*arguments):
    return READ_FILE(*arguments)


def read_once(filename, *arguments, **options):
    """The shipped configs share their bases and do not change; reading one takes milliseconds."""
    if not Path(filename).is_relative_to(ROOT / "configs"):
        return READ_FILE(filename, *arguments, **options)
    return copy.deepcopy(read_shipped(str(filename), *arguments, *options.values()))


Config._file2dict = staticmethod(read_once)


def pytest_configure(config):
    # pytest-xdist would start the files with most tests first.
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name != LONGEST)


TINY = dict(
    default_scope="ssl_ext",
    randomness=dict(seed=0),
    data_preprocessor=dict(mean=[0.5] * 3, std=[0.5] * 3),
    views=[
        dict(
            repeats=2,
            transforms=[
                dict(type="RandomResizedCrop", scale=(0.5, 1.0)),
                dict(type="ColorJitter", brightness=0.4, contrast=0.4, p=0.8),
            ],
        )
    ],
    model=dict(
        type="TriMix",
        backbone=dict(
            type="ResNet_CIFAR",
            depth=18,
            num_stages=4,
            out_indices=(3,),
            stem_channels=CHANNELS,
            base_channels=CHANNELS,
            zero_init_residual=False,
        ),
        neck=dict(
            type="NonLinearNeck",
            in_channels=CHANNELS * 8,
            hid_channels=32,
            out_channels=16,
            num_layers=3,
            with_avg_pool=False,
            with_last_bn=False,
            norm_cfg=dict(type="BN1d"),
        ),
        head=dict(type="TriMixHead"),
    ),
    train_dataloader=dict(
        batch_size=256,
        num_workers=0,
        sampler=dict(type="DefaultSampler", shuffle=True),
        collate_fn=dict(type="collate_batch"),
        drop_last=True,
        dataset=dict(type="Digits", split="train", image_size=8),
    ),
    evaluation_dataset=dict(type="Digits", image_size=8),
    evaluation=dict(
        batch_size=512,
        knn=dict(k=20, temperature=0.1),
        linear=dict(solver="sgd", epochs=5, batch_size=256, lr=1e-1, weight_decay=1e-6, momentum=0.9),
    ),
    optim_wrapper=dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=1e-3)),
    param_scheduler=[dict(type="CosineAnnealingLR", T_max=2, by_epoch=True)],
    train_cfg=dict(by_epoch=True, max_epochs=2),
    default_hooks=dict(
        runtime_info=dict(type="TrainLogHook"),
        logger=dict(type="LoggerHook", interval=2),
        checkpoint=dict(type="CheckpointHook", interval=1),
    ),
    custom_hooks=[
        dict(type="RandomStateHook"),
        dict(type="ThroughputHook"),
        dict(type="FeatureMonitorHook", interval=1),
    ],
    visualizer=dict(
        type="Visualizer",
        vis_backends=[dict(type="LocalVisBackend"), dict(type="TensorboardVisBackend")],
    ),
)


@pytest.fixture(scope="session")
def tiny_settings():
    """Settings of ``tiny_config`` for fixtures of wider scope; copy before use."""
    return TINY


@pytest.fixture
def tiny_config():
    """A whole TriMix run on 8 px digits with a very small network: about a second an epoch."""
    init_default_scope("ssl_ext")
    return Config(copy.deepcopy(TINY))


@pytest.fixture
def laid_out(monkeypatch):
    """Configs are laid out as outside of tests."""
    monkeypatch.setattr(yapf_api, "FormatCode", FORMAT_CODE)


@pytest.fixture
def tiny_config_file(tiny_config, tmp_path):
    path = tmp_path / "tiny.py"
    tiny_config.dump(path)
    return path


@pytest.fixture
def prediction_config(tiny_config):
    """Makes the tiny config a run of an algorithm with a predictor."""

    def make(model_type, **options):
        config = copy.deepcopy(tiny_config)
        neck = config.model.neck
        predictor = dict(neck, in_channels=neck.out_channels, num_layers=2)
        head = dict(type="CosineRegressionHead")
        config.model.update(type=model_type, predictor=predictor, head=head, **options)
        config.views[0].repeats = 3 if model_type == "TriBYOL" else 2
        return config

    return make


PEER_HEADS = {
    "SimCLR": dict(type="SimCLRHead", temperature=0.5),
    "BarlowTwins": dict(type="BarlowTwinsHead", redundancy_weight=5e-3),
    "MoCo": dict(type="MoCoHead", temperature=0.2),
    "BYOL": dict(type="CosineRegressionHead"),
}


@pytest.fixture
def peer_config(tiny_config):
    """Makes the tiny config a run of one of the four methods, with the views of the shipped configs."""

    def make(model_type="SimCLR"):
        config = copy.deepcopy(tiny_config)
        config.views = [
            dict(
                repeats=2,
                transforms=[
                    dict(type="RandomResizedCrop", scale=(0.2, 1.0)),
                    dict(type="RandomHorizontalFlip", p=0.5),
                    dict(type="ColorJitter", brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=0.8),
                    dict(type="RandomGrayscale", p=0.2),
                ],
            )
        ]
        config.model.update(type=model_type, head=PEER_HEADS[model_type])
        if model_type == "MoCo":
            config.model.update(queue_size=8, momentum=0.9)
            for part in ("backbone", "neck"):
                config.model[part].norm_cfg = dict(type="SplitBN", num_splits=2)
        if model_type == "BYOL":
            neck = config.model.neck
            predictor = dict(neck, in_channels=neck.out_channels, num_layers=2)
            config.model.update(predictor=predictor, momentum=0.9)
        return config

    return make
