"""Figure of the mixing policies: mixtures agree with their masks; errors are one sentence."""

import importlib
import sys

import numpy as np
import pytest
import torch

from ssl_ext.apis import build_model
from ssl_ext.apis.figures.mixing import mixing_figure, mixture_and_mask, unlike_pair
from ssl_ext.datasets import Digits
from ssl_ext.errors import UserError, run_tool
from ssl_ext.mixups import adjust_mask
from ssl_ext.models.utils import MixingPolicy
from ssl_ext.names import DRAWN_POLICIES
from ssl_ext.visualization import draw_mixed_grid


def drawn(axes):
    return np.asarray(axes.get_images()[0].get_array())


def pair_of_digits(figure, seed):
    """The two sources, which are among the 64 images of the seed."""
    dataset = Digits("train", image_size=8)
    rows = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))[:64]
    columns = figure.axes[0].get_gridspec().ncols
    pair = torch.stack(
        [torch.from_numpy(drawn(figure.axes[row * columns])).permute(2, 0, 1) for row in (0, 1)]
    )
    for image in pair:
        assert (dataset.images[rows] / 255 - image).abs().amax((1, 2, 3)).min() < 1e-6
    return pair


def test_every_policy_has_a_row_of_images_and_one_of_masks(tiny_config):
    lams = [0.2, 0.7]
    figure = mixing_figure(tiny_config, lams=lams, seed=4)
    grid = np.array(figure.axes, dtype=object).reshape(2 * len(DRAWN_POLICIES), 3)
    pair = pair_of_digits(figure, 4)
    for number, name in enumerate(DRAWN_POLICIES):
        above, below = grid[2 * number], grid[2 * number + 1]
        assert above[0].get_ylabel() == name
        np.testing.assert_allclose(drawn(above[0]), pair[0].permute(1, 2, 0).numpy(), atol=1e-6)
        np.testing.assert_allclose(drawn(below[0]), pair[1].permute(1, 2, 0).numpy(), atol=1e-6)
        for column, lam in enumerate(lams, start=1):
            assert below[column].get_xlabel() == f"{drawn(below[column]).mean():.2f}"
            assert number or above[column].get_title() == f"λ = {lam:g}"
    for column, lam in enumerate(lams, start=1):
        mixed = lam * pair[0] + (1 - lam) * pair[1]
        np.testing.assert_allclose(drawn(grid[0, column]), mixed.permute(1, 2, 0).numpy(), atol=1e-6)
        np.testing.assert_allclose(drawn(grid[1, column]), np.full((8, 8), lam), atol=1e-6)


@pytest.mark.parametrize("name", DRAWN_POLICIES)
def test_the_mask_has_the_mean_of_the_policy_and_rebuilds_the_mixture(name):
    policy = MixingPolicy(name, **(dict(transport_cell=0) if name == "puzzlemix" else {}))
    pair = torch.rand(2, 3, 8, 8)

    def loss_fn(images):
        return (images**3).sum()

    image, mask = mixture_and_mask(policy, pair, 0.4, loss_fn, seed=2)
    generator = torch.Generator().manual_seed(2)
    mixed = policy.mix(pair, 0.4, torch.tensor([1, 0]), loss_fn=loss_fn, generator=generator)
    torch.testing.assert_close(image, mixed.images[0])
    assert mask.mean().item() == pytest.approx(mixed.lam[0].item(), abs=1e-5)
    if name != "resizemix":  # resizes the second image
        torch.testing.assert_close(image, mask * pair[0] + (1 - mask) * pair[1])
    else:
        torch.testing.assert_close(image[:, mask == 1], pair[0][:, mask == 1])


def test_the_pair_differs_most_in_pixels_and_salient_places():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (6, 3, 8, 8), generator=generator, dtype=torch.uint8)
    saliency = torch.rand(6, 8, 8, generator=generator) ** 4

    def distance(i, j):
        blocks = [one.reshape(4, 2, 4, 2).mean((1, 3)) / one.mean() for one in (saliency[i], saliency[j])]
        return (images[i].float() - images[j].float()).abs().mean() * (blocks[0] - blocks[1]).abs().mean()

    first, second = max(((i, j) for i in range(6) for j in range(i)), key=lambda pair: distance(*pair))
    found = unlike_pair(images, saliency)
    assert torch.equal(found, images[[second, first]])


def test_weights_of_a_checkpoint_lead_the_gradients(tiny_config, tmp_path):
    from ssl_ext.config.networks import random_network

    torch.save(
        {"state_dict": random_network(tiny_config, seed=7, device=torch.device("cpu")).state_dict()},
        tmp_path / "epoch_1.pth",
    )
    settings = dict(policies=["puzzlemix"], lams=[0.5], seed=1)
    untrained = mixing_figure(tiny_config, **settings)
    trained = mixing_figure(tiny_config, weights=tmp_path / "epoch_1.pth", **settings)
    assert not np.allclose(drawn(untrained.axes[1]), drawn(trained.axes[1]))


@pytest.mark.parametrize("adjust", [False, True])
def test_each_checkpoint_of_a_block_has_a_row_of_its_own_masks(tiny_config, tmp_path, adjust):
    head = dict(type="LinearClsHead", num_classes=10, in_channels=64)
    backbone = dict(tiny_config.model.backbone)
    block = dict(in_channels=32)
    tiny_config.model = dict(type="AMix", backbone=backbone, head=head, mix_block=block, adjust_lam=adjust)
    tiny_config.views[0].repeats = 1
    lams, models = [0.2, 0.7], []
    for epoch in (1, 2):
        # Random blocks with these options give non-constant masks.
        torch.manual_seed(40 + epoch)
        model = build_model(tiny_config).eval()
        with torch.no_grad():
            for weight in model.mix_block.parameters():
                weight.normal_(std=0.3)
        models.append(model)
        torch.save(dict(state_dict=model.state_dict()), tmp_path / f"epoch_{epoch}.pth")
    checkpoints = [tmp_path / "epoch_1.pth", tmp_path / "epoch_2.pth"]
    figure = mixing_figure(tiny_config, trained=checkpoints, lams=lams, seed=4)
    grid = np.array(figure.axes, dtype=object).reshape(4, 3)
    assert [row[0].get_ylabel() for row in grid[::2]] == ["epoch_1", "epoch_2"]  # without a recorded training
    pair, expected = pair_of_digits(figure, 4), []
    with torch.no_grad():
        for model in models:
            features = [model.deployed.backbone((image[None] - 0.5) / 0.5)[0] for image in pair]
            for lam in lams:
                mask = model.mix_block(*features, lam, (8, 8))
                expected.append((adjust_mask(mask, lam) if adjust else mask)[0, 0].numpy())
    for number, mask in enumerate(expected):
        above, below = (grid[2 * (number // 2) + line, 1 + number % 2] for line in (0, 1))
        np.testing.assert_allclose(drawn(below), mask, atol=1e-5)
        mixed = (mask * pair[0].numpy() + (1 - mask) * pair[1].numpy()).transpose(1, 2, 0)
        np.testing.assert_allclose(drawn(above), mixed, atol=1e-5)
        assert mask.std() > 1e-3
        # A scale of its own, at full contrast.
        low, high = below.get_images()[0].get_clim()
        assert (low, high) == pytest.approx((mask.min(), mask.max()), abs=1e-5) and high - low > 0.01
        assert below.get_xlabel() == f"{mask.min():.3f}–{mask.max():.3f}"
    assert np.abs(expected[0] - expected[2]).max() > 0.01
    both = mixing_figure(tiny_config, trained=checkpoints[:1], policies=["mixup"], lams=lams)
    assert len(both.axes) == 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(policies=["blend"]), "--policies has blend; allowed are mixup, cutmix"),
        (dict(policies=["manifoldmix"]), "--policies has manifoldmix"),
        (dict(lams=[0.5, 1.5]), r"--lams has 1.5; every λ must lie in \[0, 1\]"),
        (dict(lams=[]), "at least"),
        (dict(weights="absent.pth"), "absent.pth"),
        (dict(trained=["a.pth"]), "--trained: model.type 'TriMix' has no learned mixing"),
    ],
)
def test_bad_input_is_one_sentence(tiny_config, arguments, message):
    with pytest.raises(UserError, match=message):
        mixing_figure(tiny_config, **arguments)


@pytest.mark.parametrize(
    ("rows", "lams", "message"),
    [
        ({}, [0.5], "two sources, a row"),
        (dict(a=(np.zeros((2, 3, 4, 4)), np.zeros((2, 4, 4)))), [0.5], "a: 1 values of λ"),
        (dict(a=(np.zeros((1, 3, 4, 4)), np.zeros((1, 4, 5)))), [0.5], "masks of their size"),
        (dict(a=(np.full((1, 3, 4, 4), 2.0), np.zeros((1, 4, 4)))), [0.5], r"must lie in \[0, 1\]"),
    ],
)
def test_a_grid_needs_images_and_masks_that_fit(rows, lams, message):
    with pytest.raises(ValueError, match=message):
        draw_mixed_grid(rows, lams, np.zeros((2, 3, 4, 4)))


def test_the_tool_writes_both_formats(tiny_config_file, tmp_path, monkeypatch, capsys):
    tool = importlib.import_module("ssl_ext.cli.visualize")
    words = ["--policies", "mixup", "--lams", "0.3", "--out"]
    monkeypatch.setattr(sys, "argv", ["visualize.py", "mixing", str(tiny_config_file), *words, str(tmp_path)])
    run_tool(tool.main)
    capsys.readouterr()
    for suffix in ("png", "pdf"):
        assert (tmp_path / f"mixing.{suffix}").stat().st_size > 1000


def test_a_learned_mask_without_contrast_looks_flat_and_long_titles_stay_in_their_row():
    name = "AMix, seed 0, epoch 10"
    rows = {name: (np.zeros((1, 3, 4, 4)), np.full((1, 4, 4), 0.5))}
    figure = draw_mixed_grid(rows, [0.5], np.zeros((2, 3, 4, 4)), learned=[name])
    assert figure.axes[3].get_images()[0].get_clim() == pytest.approx((0.495, 0.505))
    figure.draw_without_rendering()
    above, below = (axes.yaxis.label.get_window_extent() for axes in (figure.axes[0], figure.axes[2]))
    assert below.y1 < above.y0 and above.x0 >= 0
