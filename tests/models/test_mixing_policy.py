"""Mixing policies: random draws, required inputs and rejected options."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import nn

from ssl_ext.mixups import cutmix, gradient_saliency, mixup, puzzlemix
from ssl_ext.models.utils import MixingPolicy
from ssl_ext.models.utils.mixing import POLICIES, draw_lam
from ssl_ext.registry import MODELS

IMAGES = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 0, 1, 2, 2])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def loss_fn(images):
    return images.pow(2).sum() * 3


@pytest.mark.parametrize("name", POLICIES)
def test_mixed_batches_are_what_they_say(name):
    policy = MODELS.build(dict(type="MixingPolicy", name=name))
    images = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 3, 8, 8).clone()
    for seed in range(5):
        mixed = policy(images, labels=LABELS, loss_fn=loss_fn, generator=generator(seed))
        assert mixed.images.shape == images.shape
        assert mixed.permutation.dtype == torch.int64
        means = mixed.images.mean((1, 2, 3))
        if mixed.weights is None:
            expected = mixed.lam * torch.arange(6) + (1 - mixed.lam) * mixed.permutation
        else:
            expected = mixed.weights @ torch.arange(6.0)
        torch.testing.assert_close(means, expected)
        again = policy(images, labels=LABELS, loss_fn=loss_fn, generator=generator(seed))
        assert torch.equal(again.images, mixed.images)
    assert not list(policy.parameters())


def test_the_draws_are_those_of_the_function():
    policy = MixingPolicy("cutmix", alpha=1.0)
    mixed = policy(IMAGES, generator=generator(3))
    source = generator(3)
    permutation = torch.randperm(6, generator=source)
    lam = draw_lam(1.0, torch.device("cpu"), generator=source)
    expected, share = cutmix(IMAGES, lam, permutation, generator=source)
    assert torch.equal(mixed.images, expected)
    assert torch.equal(mixed.lam, share)
    assert torch.equal(mixed.permutation, permutation)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 2.0])
def test_lam_has_the_moments_of_a_beta_distribution(alpha):
    source = generator()
    drawn = torch.stack([draw_lam(alpha, torch.device("cpu"), generator=source) for _ in range(8000)])
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.02)
    assert drawn.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)
    assert drawn.isfinite().all()


def test_features_are_mixed_by_manifoldmix():
    features = torch.randn(6, 5)
    mixed = MixingPolicy("manifoldmix")(features, generator=generator())
    torch.testing.assert_close(mixed.images, mixup(features, mixed.lam, mixed.permutation)[0])


def test_saliency_is_the_length_of_the_gradient():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 3))
    target = LABELS

    def loss(images):
        return F.cross_entropy(network(images), target)

    with torch.no_grad():
        saliency = gradient_saliency(IMAGES, loss)
    leaf = IMAGES.clone().requires_grad_()
    loss(leaf).backward()
    torch.testing.assert_close(saliency, leaf.grad.square().mean(1).sqrt())
    assert not saliency.requires_grad
    assert not IMAGES.requires_grad

    network.zero_grad()
    policy = MixingPolicy("puzzlemix", blocks=(4,))
    assert policy.needs_gradient
    mixed = policy.mix(IMAGES, 0.4, torch.arange(6).flip(0), loss_fn=loss)
    expected, share = puzzlemix(IMAGES, 0.4, torch.arange(6).flip(0), saliency=saliency, blocks=(4,))
    assert torch.equal(mixed.images, expected)
    assert torch.equal(mixed.lam, share)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_co_mixup_names_the_main_pair_of_each_mixture():
    mixed = MixingPolicy("co_mixup")(IMAGES, loss_fn=loss_fn, generator=generator(1))
    for n, row in enumerate(mixed.weights):
        others = [k for k in range(6) if k != n]
        assert mixed.lam[n] == row[n]
        assert row[mixed.permutation[n]] == max(row[k] for k in others)
        assert mixed.permutation[n] != n


def test_inter_intra_pairs_within_classes():
    policy = MixingPolicy("inter_intra", intra_share=1.0, intra_alpha=4.0, alpha=0.5)
    assert policy.needs_labels
    mixed = policy(IMAGES, labels=LABELS, generator=generator())
    assert torch.equal(LABELS[mixed.permutation], LABELS)
    # All pairs are of one class, so MixUp mixed them all with one λ.
    torch.testing.assert_close(mixed.images, mixup(IMAGES, mixed.lam, mixed.permutation)[0])
    assert len(mixed.lam.unique()) == 1


@pytest.mark.parametrize("name", ["mixup", "co_mixup"])
def test_some_steps_mix_nothing(name):
    policy = MixingPolicy(name, prob=0.3)
    unmixed = 0
    for seed in range(200 if name == "mixup" else 30):
        mixed = policy(IMAGES, loss_fn=loss_fn, generator=generator(seed))
        if torch.equal(mixed.images, IMAGES):
            unmixed += 1
            assert torch.equal(mixed.lam, torch.ones(6))
            assert mixed.weights is None or torch.equal(mixed.weights, torch.eye(6))
    assert unmixed / (seed + 1) == pytest.approx(0.7, abs=0.1 if name == "mixup" else 0.2)
    assert torch.equal(MixingPolicy("mixup", prob=0.0)(IMAGES).images, IMAGES)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(name="blend"), "model.policy.name is 'blend'; it must be one of mixup, manifoldmix, cutmix"),
        (
            dict(name="mixup", alphas="svhn"),
            "model.policy.alphas is 'svhn'; it must be one of cifar100, tiny",
        ),
        (dict(name="mixup", alpha=0), "model.policy.alpha is 0; it must be above 0"),
        (dict(name="mixup", alpha=float("inf")), "model.policy.alpha is inf"),
        (dict(name="mixup", prob=1.1), "model.policy.prob is 1.1; it must be from 0 to 1"),
        (dict(name="mixup", decay=3), "model.policy.decay is not an option of 'mixup'; allowed are none"),
        (dict(name="cutmix", generator=None), "model.policy.generator is not an option"),
        (dict(name="fmix", alfa=3), "model.policy.alfa is not an option of 'fmix'; allowed are decay"),
        (dict(name="fmix", decay=-1), "decay must be at least 0, got -1 .config key model.policy.decay"),
        (dict(name="resizemix", scale=(0, 1)), "config key model.policy.scale"),
        (dict(name="puzzlemix", levels=1), "config key model.policy.levels"),
        (dict(name="co_mixup", part=1), "config key model.policy.part"),
        (dict(name="inter_intra", intra="fmix"), "config key model.policy.intra"),
        (dict(name="inter_intra", intra_share=2), "model.policy.intra_share is 2"),
        (dict(name="inter_intra", intra_alpha=-1), "model.policy.intra_alpha is -1"),
    ],
)
def test_bad_settings_are_refused_at_once(settings, message):
    with pytest.raises(ValueError, match=message):
        MixingPolicy(**settings)


def test_what_a_policy_needs_must_be_given():
    with pytest.raises(ValueError, match="'puzzlemix' needs a loss"):
        MixingPolicy("puzzlemix")(IMAGES)
    with pytest.raises(ValueError, match="'inter_intra' needs labels"):
        MixingPolicy("inter_intra")(IMAGES)


def test_building_a_policy_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    for name in POLICIES:
        MixingPolicy(name)
    assert torch.equal(torch.rand(3), expected)


def test_alphas_are_those_that_the_readme_prints():
    text = (Path(__file__).parents[2] / "configs/mixup/README.md").read_text()
    columns = ("cifar100", "tiny-imagenet", "fine-grained", "imagenet", "imagenet-resnet18", "stl10")
    checked = 0
    for line in text.split("| policy | CIFAR-100 |")[1].split("\n\n")[0].splitlines()[2:]:
        names, *values = (cell.strip() for cell in line.strip("|").split("|"))
        for name in names.lower().replace("-", "_").split(", "):
            found = [MixingPolicy(name, alphas=column).alpha for column in columns]
            assert found == [float(value) for value in values], name
            checked += 1
    assert checked == 8
    assert MixingPolicy("cutmix", alphas="self-supervised").alpha == 1
    assert MixingPolicy("cutmix", alpha=3, alphas="stl10").alpha == 3


def test_configs_take_the_column_of_their_data_set():
    for path in (Path(__file__).parents[2] / "configs").glob("*mix*/*.py"):
        policy = Config.fromfile(path).model.get("policy")
        data, resnet18 = path.stem.rpartition("_")[2], "resnet18" in path.stem
        if policy and policy.type == "MixingPolicy":
            if path.parent.name == "amix_ssl":
                expected = "self-supervised"
            elif data == "imagenet":
                expected = "imagenet-resnet18" if resnet18 else "imagenet"
            else:
                expected = {"cub200": "fine-grained", "fgvc-aircraft": "fine-grained"}.get(data, data)
            assert policy.get("alphas", "cifar100") == expected.replace("cifar10-10k", "cifar100"), path
