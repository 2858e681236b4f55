"""Overrides of the medical README: image size, depth, sequence of augmentations."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.optim import build_optim_wrapper

from ssl_ext.apis import build_model, load_config, parse_options
from ssl_ext.datasets import ArrayDataset

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "configs" / "medical"
NOV = FOLDER / "simclr-nov_resnet18_1xb256-adamw-2000e_bloodmnist.py"


@pytest.mark.parametrize(
    ("words", "size", "blocks", "width"),
    [
        (["train_dataloader.dataset.size=64", "evaluation_dataset.size=64"], 64, 8, 512),
        (["model.backbone.depth=34"], 28, 16, 512),
        (["model.backbone.depth=50", "model.neck.in_channels=2048"], 28, 16, 2048),
    ],
)
def test_a_changed_network_takes_its_step(words, size, blocks, width):
    config = load_config(NOV, parse_options(words))
    assert config.train_dataloader.dataset["size"] == config.evaluation_dataset["size"] == size
    model = build_model(config).train()
    assert sum(len(getattr(model.backbone, f"layer{stage}")) for stage in range(1, 5)) == blocks
    images = np.random.default_rng(0).integers(0, 256, (4, 3, size, size), np.uint8)
    weight = model.neck.mlp[0].weight
    assert weight.shape == (1000, width)
    before = weight.detach().clone()
    logged = model.train_step(
        ArrayDataset(images).__getitems__([0, 1, 2, 3]), build_optim_wrapper(model, config.optim_wrapper)
    )
    assert torch.isfinite(logged["loss"]) and not torch.equal(weight, before)


def test_another_method_takes_a_sequence_by_one_line(tmp_path):
    folder = ROOT / "configs" / "trimix"
    text = (folder / "trimix_resnet18_1xb256-adam-200e_bloodmnist.py").read_text()
    text = text.replace("views/crop-jitter-flip-grey.py", "views/medical-nov.py")
    (tmp_path / "mine.py").write_text(text.replace("..", str(ROOT / "configs")))
    drawn = load_config(tmp_path / "mine.py").views
    assert [view.type for view in drawn[0].transforms][-2:] == ["RandomEqualize", "RandomSharpness"]
    assert drawn == load_config(NOV).views
