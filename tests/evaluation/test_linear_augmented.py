import pytest
import torch
from torch import nn

from ssl_ext.evaluation import (
    Banks,
    FeatureBank,
    Recipe,
    augmented_linear_protocol,
    evaluation_mode,
    linear_protocol,
)

RECIPE = dict(epochs=4, batch_size=16, lr=0.5, milestones=[0.5])


class Images:
    def __init__(self, count, seed):
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.arange(count) % 3
        noise = torch.randint(0, 150, (count, 1, 6, 6), generator=generator)
        self.images = (40 * self.labels[:, None, None, None] + noise).to(torch.uint8)

    def __len__(self):
        return len(self.images)

    def __getitems__(self, rows):
        return dict(inputs=self.images[rows], labels=self.labels[rows])


TRAIN, VAL, TEST = Images(70, 0), Images(30, 1), Images(60, 2)


def make_net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(2), nn.Flatten()
    )


def bank(net, data, rows=None):
    rows = torch.arange(len(data)) if rows is None else rows
    with evaluation_mode(net):
        return FeatureBank(net(data.images[rows] / 255), data.labels[rows])


def run(net, augment=lambda images: images / 255, rows=None, refit_rows=None, **settings):
    return augmented_linear_protocol(
        lambda images: net(augment(images)), TRAIN, torch.arange(70) if rows is None else rows,
        refit_rows=refit_rows, val=bank(net, VAL), test=bank(net, TEST), model=net, num_classes=3,
        recipe=Recipe(**{**RECIPE, **settings}),
    )  # fmt: skip


@pytest.mark.parametrize("refit", [False, True])
def test_without_augmentation_it_is_the_linear_probe_on_features(refit):
    net, rows = make_net().train(), torch.arange(0, 70, 2)
    refit_rows = torch.arange(70) if refit else None
    final = bank(net, TRAIN, refit_rows) if refit else None
    banks = Banks(bank(net, TRAIN, rows), bank(net, VAL), bank(net, TEST), final)
    cached = linear_protocol(banks, num_classes=3, task="multi-class", seed=0, recipe=RECIPE)
    streamed = run(net, rows=rows, refit_rows=refit_rows)
    assert streamed.settings["fit_includes_validation"] is refit
    assert streamed.last["acc"] == cached.last["acc"]
    assert streamed.best["auc"] == pytest.approx(cached.best["auc"], abs=1e-6)
    assert streamed.last["ece"] == pytest.approx(cached.last["ece"], abs=1e-5)
    assert streamed.settings["chosen_on_validation"] == cached.settings["chosen_on_validation"]


def test_parameters_buffers_modes_and_the_callers_random_state_stay():
    net = make_net().train()
    net[1].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    run(net, augment=lambda images: images * torch.rand(len(images), 1, 1, 1) / 255)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert net.training
    assert not net[1].training


def test_every_epoch_passes_new_views_through_the_network():
    views = []

    def augment(images):
        views.append(torch.rand(()))
        return images * views[-1] / 255

    first = run(make_net(), augment)
    assert len(views) == 4 * 5
    assert len(set(views)) == 4 * 5
    assert run(make_net(), augment) == first
    assert run(make_net(), lr=30.0).settings["lr"] == 30


def test_nothing_to_train_on():
    with pytest.raises(ValueError, match="no training row"):
        run(make_net(), rows=torch.arange(0))
