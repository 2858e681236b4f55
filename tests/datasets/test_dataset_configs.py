import inspect
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from ssl_ext.registry import DATASETS

FOLDER = Path(__file__).parents[2] / "configs" / "_base_" / "datasets"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))
SHIPPED = {
    "digits", "cifar10", "cifar100", "stl10", "tiny_imagenet", "pathmnist", "dermamnist",
    "octmnist", "bloodmnist", "retinamnist", "breastmnist",
    "mnist", "fashionmnist", "kmnist", "usps", "svhn",
}  # fmt: skip


def test_all_are_there():
    assert set(NAMES) >= SHIPPED


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_keys_fit_the_data_set(name):
    config = Config.fromfile(FOLDER / f"{name}.py")
    assert set(config) == {"train_dataloader", "evaluation_dataset", "data_preprocessor"}
    train = config.train_dataloader.dataset.to_dict()
    split = train.pop("split")
    assert train == config.evaluation_dataset.to_dict()
    signature = inspect.signature(DATASETS.get(train.pop("type")).__init__)
    signature.bind(None, split=split, **train)  # a TypeError names a wrong or missing key
    loader = config.train_dataloader
    assert (loader.num_workers, loader.drop_last, loader.batch_size) == (0, True, 256)
    assert loader.collate_fn.type == "collate_batch"
    mean, std = (config.data_preprocessor[key] for key in ("mean", "std"))
    assert len(mean) == len(std) == 3
    assert all(0 < value < 1 for value in mean + std)


def test_digits_statistics_are_those_of_its_train_split():
    config = Config.fromfile(FOLDER / "digits.py")
    data = DATASETS.build(config.train_dataloader.dataset)
    pixels = data.images.float() / 255
    preprocessor = config.data_preprocessor
    assert torch.allclose(pixels.mean((0, 2, 3)), torch.tensor(preprocessor.mean), atol=1e-4)
    assert torch.allclose(pixels.std((0, 2, 3)), torch.tensor(preprocessor.std), atol=1e-4)
