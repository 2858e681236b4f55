import mmengine.registry
import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from ssl_ext.datasets import collate_batch
from ssl_ext.registry import FUNCTIONS


def sample(index, size=4):
    inputs = torch.full((3, size, size), index, dtype=torch.uint8)
    return {"inputs": inputs, "labels": torch.tensor(-index), "indices": torch.tensor(index)}


def test_a_dict_passes_untouched():
    batch = sample(1)
    assert collate_batch(batch) is batch


def test_a_list_is_stacked_in_order():
    batch = collate_batch([sample(3), sample(1)])
    assert batch["inputs"].shape == (2, 3, 4, 4)
    assert batch["inputs"].dtype == torch.uint8
    assert batch["inputs"][:, 0, 0, 0].tolist() == [3, 1]
    assert batch["labels"].tolist() == [-3, -1]
    assert batch["indices"].tolist() == [3, 1]


def test_images_of_several_sizes_are_refused():
    with pytest.raises(ValueError, match=r"\(3, 4, 4\), \(3, 5, 5\).*dataset.image_size"):
        collate_batch([sample(0, 5), sample(1, 4)])


def test_is_found_by_name_from_both_registries():
    assert FUNCTIONS.get("collate_batch") is collate_batch
    assert mmengine.registry.FUNCTIONS.get("collate_batch") is collate_batch


def test_runner_builds_a_loader_from_a_config():
    config = {
        "batch_size": 50,
        "num_workers": 0,
        "sampler": {"type": "DefaultSampler", "shuffle": True},
        "collate_fn": {"type": "collate_batch"},
        "drop_last": True,
        "dataset": {"type": "Digits", "split": "val", "image_size": 8},
    }
    with DefaultScope.overwrite_default_scope("ssl_ext"):
        loader = Runner.build_dataloader(config, seed=0)
    batches = list(loader)
    assert len(batches) == 7
    assert batches[0]["inputs"].shape == (50, 3, 8, 8)
    assert torch.equal(batches[0]["labels"], loader.dataset.labels[batches[0]["indices"]])
