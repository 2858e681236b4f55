"""Equalisation and sharpness equal Pillow's and torchvision's, sample by sample."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from scipy import stats
from torchvision.transforms import functional as tv

from ssl_ext.augment import RandomEqualize, RandomSharpness
from ssl_ext.augment.equalize import equalizing_tables

SIZES = [(28, 28), (32, 32), (17, 31), (64, 45), (9, 4), (1, 1), (2, 300)]
LEVEL = 1 / 255


def levels_of(kind, channels, size, seed=0):
    """A batch of five images (5, C, H, W), uint8, of one kind."""
    rng = np.random.default_rng(seed)
    shape = (5, channels, *size)
    if kind == "grey":
        images = np.repeat(rng.integers(0, 256, (5, 1, *size)), channels, 1)
    elif kind == "colour":
        images = rng.integers(0, 256, shape)
    elif kind == "dull":
        images = rng.integers(90, 130, shape)
    elif kind == "constant":
        images = np.broadcast_to(rng.integers(0, 256, (5, channels, 1, 1)), shape)
    elif kind == "two-valued":
        colours = rng.integers(0, 256, (2, 5, channels, 1, 1))
        images = np.where(rng.random((5, 1, *size)) < rng.random((5, 1, 1, 1)), *colours)
    else:
        assert kind == "equalised"
        ramp = np.linspace(0, 255, size[0] * size[1]).astype(int).reshape(size)
        images = np.broadcast_to(rng.permuted(ramp, axis=0), shape)
    return torch.from_numpy(np.ascontiguousarray(images, np.uint8))


KINDS = ["colour", "grey", "dull", "constant", "two-valued", "equalised"]


def equalize_pillow(image):
    """Pillow's equalisation of Y, or of the channel itself for one or three equal channels."""
    if all(torch.equal(channel, image[0]) for channel in image):
        level = np.asarray(ImageOps.equalize(Image.fromarray(image[0].numpy())))
        return torch.from_numpy(level.copy()).expand_as(image)
    y, *chroma = Image.fromarray(image.permute(1, 2, 0).numpy()).convert("YCbCr").split()
    equalized = Image.merge("YCbCr", (ImageOps.equalize(y), *chroma)).convert("RGB")
    return torch.from_numpy(np.array(equalized)).permute(2, 0, 1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_equalize_equals_pillow(kind, channels, size):
    images = levels_of(kind, channels, size)
    active = torch.tensor([True, False, True, True, False])
    for batch in (images, images / 255, images.double() / 255):
        views = RandomEqualize().transform(batch, {"active": active})
        for image, view, on in zip(images, views, active, strict=True):
            expected = equalize_pillow(image) if on else image
            assert (view * 255 - expected).abs().max() < 1e-3


def test_equalize_of_grey_equals_torchvision():
    images = torch.cat([levels_of(kind, 1, (40, 33)) for kind in KINDS])
    views = RandomEqualize(p=1.0)(images)
    assert (views * 255 - tv.equalize(images)).abs().max() < 1e-3


def test_equalize_mixes_colour_and_grey_samples():
    images = torch.cat([levels_of(kind, 3, (20, 20)) for kind in KINDS])
    views = RandomEqualize(p=1.0)(images)
    for image, view in zip(images, views, strict=True):
        assert (view * 255 - equalize_pillow(image)).abs().max() < 1e-3


def test_equalize_converts_every_colour_as_pillow():
    # All levels of each channel combined with a grid of the others, and random colours, in one image: with
    # all bins in use, a wrong level of Y also shifts its neighbours.
    lattice = torch.cartesian_prod(*[torch.arange(0, 256, 17)] * 2)
    single = torch.arange(256)
    sets = [torch.randint(0, 256, (100_000, 3), generator=torch.Generator().manual_seed(0))]
    for place in range(3):
        grid = torch.cat([single.repeat_interleave(len(lattice)).unsqueeze(1), lattice.repeat(256, 1)], 1)
        sets.append(grid.roll(place, 1))
    colours = torch.cat(sets).to(torch.uint8).T.reshape(3, 1, -1)
    view = RandomEqualize(p=1.0)(colours.unsqueeze(0))[0]
    assert (view * 255 - equalize_pillow(colours)).abs().max() < 1e-3


def test_equalize_rounds_floats_to_the_nearest_level():
    images = levels_of("dull", 3, (30, 30)) / 255
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(1)).sub_(0.5).mul_(0.9 * LEVEL)
    expected = RandomEqualize(p=1.0)(images)
    assert torch.equal(RandomEqualize(p=1.0)(images + noise), expected)


def test_equalizing_tables_follow_the_definition():
    """Compare with the integer definition, level by level, for histograms with gaps and with large bins."""
    rng = np.random.default_rng(3)
    histograms = rng.integers(0, 400, (30, 256)) * (rng.random((30, 256)) < rng.random((30, 1)))
    histograms[0], histograms[1] = 0, 0
    histograms[1, 77] = 784
    tables = equalizing_tables(torch.from_numpy(histograms))
    for counts, table in zip(histograms, tables, strict=True):
        filled = np.flatnonzero(counts)
        step = int(counts[filled[:-1]].sum()) // 255
        expected = list(range(256))
        if step > 0:
            expected = [min(255, (int(counts[:k].sum()) + step // 2) // step) for k in range(256)]
        assert table.tolist() == expected


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_sharpness_equals_torchvision(kind, channels, size):
    images = levels_of(kind, channels, size)
    factor, active = torch.tensor([0.0, 0.7, 1.0, 3.3, 10.0]), torch.tensor([True, True, True, False, True])
    for batch in (images, images / 255):
        views = RandomSharpness().transform(batch, {"active": active, "factor": factor})
        for n, view in enumerate(views):
            image = images[n] / 255
            expected = tv.adjust_sharpness(image, factor[n].item()) if active[n] else image
            assert (view - expected).abs().max() < 1e-5


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_sharpness_equals_pillow_up_to_its_rounding(kind, channels):
    # Pillow rounds the smoothed image to 8 bits, an error that the blend scales by |1 - factor|, and
    # truncates the result to integer levels.
    images = levels_of(kind, channels, (23, 30))
    for factor in (0.0, 0.5, 1.0, 2.0, 5.5, 10.0):
        params = {"active": torch.ones(5, dtype=torch.bool), "factor": torch.full((5,), factor)}
        views = RandomSharpness().transform(images, params)
        for image, view in zip(images, views, strict=True):
            pillow = Image.fromarray(image.permute(1, 2, 0).numpy().squeeze())
            sharp = torch.from_numpy(np.array(ImageEnhance.Sharpness(pillow).enhance(factor)))
            expected = sharp.view(23, 30, channels).permute(2, 0, 1)
            assert (view - expected / 255).abs().max() <= LEVEL * (0.5 * abs(1 - factor) + 1) + 1e-6
            if factor == 1.0 or kind == "constant":
                assert (view - expected / 255).abs().max() <= 1e-6


def test_sharpness_is_the_blend_of_the_definition():
    images = torch.rand((3, 2, 6, 7), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    factor = torch.tensor([0.3, 1.7, 6.0])
    params = {"active": torch.ones(3, dtype=torch.bool), "factor": factor}
    expected = images.clone()
    kernel = torch.tensor([[1, 1, 1], [1, 5, 1], [1, 1, 1]], dtype=torch.float64) / 13
    for n, c, i, j in np.ndindex(3, 2, 4, 5):
        pixel = images[n, c, i + 1, j + 1]
        smoothed = (images[n, c, i : i + 3, j : j + 3] * kernel).sum()
        expected[n, c, i + 1, j + 1] = smoothed * (1 - factor[n]) + pixel * factor[n]
    views = RandomSharpness().transform(images, params)
    assert (views - expected.clamp(0, 1)).abs().max() < 1e-5
    border = torch.ones(6, 7, dtype=torch.bool)
    border[1:-1, 1:-1] = False
    assert torch.equal(views[..., border], images[..., border].float())


def test_sharpness_factors_are_uniform_and_independent():
    draw = RandomSharpness(factor=(1.0, 10.0)).draw(
        (4000, 3, 8, 8), generator=torch.Generator().manual_seed(0)
    )
    factor = draw["factor"].double().numpy()
    assert stats.kstest(factor, "uniform", args=(1, 9)).pvalue > 1e-3
    assert stats.pearsonr(factor[:-1], factor[1:]).pvalue > 1e-3
    assert draw["active"].all()


@pytest.mark.parametrize("build", [RandomEqualize, lambda p: RandomSharpness((2.0, 3.0), p)])
@pytest.mark.parametrize("p", [0.0, 1.0])
def test_none_or_all(build, p):
    images = levels_of("dull", 3, (20, 20)) / 255
    changed = (build(p)(images) != images).flatten(1).any(1)
    assert changed.all() if p else not changed.any()
