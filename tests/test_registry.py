"""Names in configs: local classes first, MMPretrain's behind them."""

import mmpretrain.datasets
import mmpretrain.models
import pytest
import torch
from mmengine.registry import init_default_scope

import ssl_ext.datasets
import ssl_ext.models
from ssl_ext.registry import AUGMENTATIONS, DATASETS, MODELS, TRANSFORMS


@pytest.fixture(autouse=True)
def scope():
    init_default_scope("ssl_ext")


@pytest.mark.parametrize("name", ["ResNet", "ResNet_CIFAR", "NonLinearNeck", "MAE", "DenseCL"])
def test_classes_of_mmpretrain_need_no_prefix(name):
    assert MODELS.get(name) is getattr(mmpretrain.models, name)


def test_local_classes_win_and_the_others_stay_reachable():
    assert MODELS.get("BarlowTwins") is ssl_ext.models.BarlowTwins
    assert MODELS.get("mmpretrain.BarlowTwins") is mmpretrain.models.BarlowTwins
    assert DATASETS.get("CIFAR10") is ssl_ext.datasets.CIFAR10
    assert DATASETS.get("mmpretrain.CIFAR10") is mmpretrain.datasets.CIFAR10


def test_an_algorithm_of_mmpretrain_builds_its_parts():
    channels = 8
    model = MODELS.build(
        dict(
            type="mmpretrain.SimCLR",
            backbone=dict(type="ResNet", depth=18, stem_channels=channels, base_channels=channels),
            neck=dict(
                type="NonLinearNeck",
                in_channels=64,
                hid_channels=8,
                out_channels=8,
                norm_cfg=dict(type="BN1d"),
            ),
            head=dict(type="ContrastiveHead", loss=dict(type="CrossEntropyLoss"), temperature=0.5),
            data_preprocessor=dict(type="MultiViewPreprocessor", mean=[0.5] * 3, std=[0.5] * 3),
        )
    )
    assert isinstance(model, mmpretrain.models.SimCLR)
    assert isinstance(model.data_preprocessor, ssl_ext.models.MultiViewPreprocessor)
    losses = model.loss(list(torch.randn(2, 4, 3, 64, 64)), [])
    assert torch.isfinite(losses["loss"])


def test_batched_augmentations_do_not_shadow_transforms():
    assert TRANSFORMS.get("RandomResizedCrop").__module__.startswith("mmpretrain.")
    assert AUGMENTATIONS.get("RandomResizedCrop").__module__.startswith("ssl_ext.augment")


def test_an_unknown_name_is_an_error():
    with pytest.raises(KeyError, match="NoSuchNet"):
        MODELS.build(dict(type="NoSuchNet"))
