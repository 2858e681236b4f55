"""Colour operations, blur and normalisation equal torchvision's, sample by sample."""

import itertools

import pytest
import torch
from torchvision.transforms import functional as tv

from ssl_ext.augment import (
    ORDERS,
    AugmentationSequence,
    ColorJitter,
    GaussianBlur,
    Normalize,
    RandomGrayscale,
    RandomSolarize,
    blur,
)
from ssl_ext.augment.color import brightness_, contrast_, hue_, saturation_
from ssl_ext.augment.jitter_forms import jitter_grouped, jitter_masked, jitter_sorted

SHAPES = [(6, 3, 32, 32), (6, 1, 28, 28), (1, 3, 17, 31), (4, 3, 9, 40)]
ADJUST = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue)
NAMES = ("brightness", "contrast", "saturation", "hue")
CLOSE = 1e-5


def images_of(shape, seed=0):
    """Random colours, including grey, black, white and pure colours."""
    images = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    images[..., 0, :] = images[:, :1, 0, :]
    images[..., 1, 0], images[..., 1, 1] = 0.0, 1.0
    for k, colour in enumerate(itertools.product((0.0, 1.0), repeat=shape[1])):
        images[:, :, 2, k] = torch.tensor(colour)
    return images


def planes_of(images):
    return images.permute(1, 0, 2, 3).clone(memory_format=torch.contiguous_format)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("ours", "theirs", "factors"),
    [
        (brightness_, tv.adjust_brightness, (0.0, 0.6, 1.0, 1.7)),
        (contrast_, tv.adjust_contrast, (0.0, 0.6, 1.0, 1.7)),
        (saturation_, tv.adjust_saturation, (0.0, 0.6, 1.0, 1.7)),
        (hue_, tv.adjust_hue, (-0.5, -0.13, 0.0, 0.1, 0.34, 0.5)),
    ],
)
def test_each_adjustment_equals_torchvision(shape, ours, theirs, factors):
    images = images_of(shape)
    if shape[1] == 1 and ours in (hue_, saturation_):
        pytest.skip("left out by ColorJitter for one channel, tested below")
    for factor in factors:
        result = ours(planes_of(images), torch.full((shape[0],), factor))
        for n, image in enumerate(images):
            assert (result[:, n] - theirs(image, factor)).abs().max() < CLOSE


def test_hue_of_all_dark_and_nearly_grey_colours():
    levels = torch.tensor([0, 1, 2, 3, 127, 128, 129, 253, 254, 255]) / 255
    colours = torch.cartesian_prod(levels, levels, levels).T.reshape(3, 1, 10, 100)
    for shift in (-0.37, 1 / 6, 0.25):
        result = hue_(colours.clone(), torch.tensor([shift]))[:, 0]
        assert (result - tv.adjust_hue(colours[:, 0], shift)).abs().max() < CLOSE


def jitter_slowly(image, params, n):
    if not params["active"][n]:
        return image
    for operation in ORDERS[params["order"][n]]:
        if NAMES[operation] in params:
            image = ADJUST[operation](image, params[NAMES[operation]][n].item())
    return image


@pytest.mark.parametrize("way", [jitter_grouped, jitter_sorted, jitter_masked])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "strength", [(0.8, 0.7, 0.6, 0.4), (0.4, 0, 0.4, 0), (0, 0, 0, 0.5), (0, 0.4, 0, 0.1), (0,) * 4]
)
def test_jitter_in_every_order_equals_torchvision(way, channels, strength):
    shape = (48, channels, 9, 11)
    images = images_of(shape)
    jitter = ColorJitter(*strength, p=0.8)
    params = jitter.draw(shape, generator=torch.Generator().manual_seed(5))
    params["order"] = torch.arange(48) % 24
    params["active"][:24] = True
    ours = params
    if channels == 1:
        ours = {k: v for k, v in params.items() if k not in ("saturation", "hue")}
    result = way(planes_of(images), ours)
    for n, image in enumerate(images):
        assert (result[:, n] - jitter_slowly(image, params, n)).abs().max() < 5 * CLOSE


@pytest.mark.parametrize("shape", SHAPES)
def test_jitter_of_the_module_equals_torchvision(shape):
    images = images_of(shape)
    jitter = ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8)
    params = jitter.draw(shape, generator=torch.Generator().manual_seed(2))
    for n, view in enumerate(jitter.transform(images, params)):
        assert (view - jitter_slowly(images[n], params, n)).abs().max() < 5 * CLOSE


def test_jitter_of_many_samples_crosses_the_blocks_of_the_hue():
    images = images_of((70, 3, 48, 48))
    shift = torch.linspace(-0.5, 0.5, 70)
    whole = hue_(planes_of(images), shift)
    for n in range(0, 70, 7):
        assert (whole[:, n] - tv.adjust_hue(images[n], shift[n].item())).abs().max() < CLOSE


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_jitter_of_none_or_all(p):
    images = images_of((5, 3, 8, 9))
    jitter = ColorJitter(0.9, 0.9, 0.9, 0.4, p=p)
    changed = (jitter(images) != images).flatten(1).any(1)
    assert changed.all() if p else not changed.any()


@pytest.mark.parametrize("shape", SHAPES)
def test_grayscale_equals_torchvision(shape):
    images = images_of(shape)
    active = torch.arange(shape[0]) % 2 == 0
    views = RandomGrayscale().transform(images, {"active": active})
    for image, view, on in zip(images, views, active, strict=True):
        expected = tv.rgb_to_grayscale(image, shape[1]) if on else image
        assert (view - expected).abs().max() < CLOSE


def test_a_batch_that_is_all_grey_can_be_normalised_in_place():
    images = torch.rand(2, 3, 8, 8)
    grey_then_normal = AugmentationSequence([RandomGrayscale(p=1.0), Normalize([0.5] * 3, [0.25] * 3)])
    expected = (tv.rgb_to_grayscale(images, 3) - 0.5) / 0.25
    torch.testing.assert_close(grey_then_normal(images), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_solarize_equals_torchvision(shape):
    images = images_of(shape)
    active = torch.arange(shape[0]) % 2 == 0
    views = RandomSolarize(0.4).transform(images, {"active": active})
    for image, view, on in zip(images, views, active, strict=True):
        assert torch.equal(view, tv.solarize(image, 0.4) if on else image)


def test_solarize_of_uint8_starts_at_the_same_level():
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    view = RandomSolarize(0.5, p=1.0)(images)
    assert (view - tv.solarize(images, 128) / 255).abs().max() < 1e-6


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kernel_size", [1, 3, 9, 17])
def test_blur_equals_torchvision(shape, kernel_size):
    images = images_of(shape)
    if min(shape[2:]) <= kernel_size // 2:
        pytest.skip("too small for this kernel")
    active = torch.arange(shape[0]) % 3 != 1
    sigma = torch.linspace(0.1, 2.0, shape[0])
    views = GaussianBlur(kernel_size).transform(images, {"active": active, "sigma": sigma})
    for n, view in enumerate(views):
        blurred = tv.gaussian_blur(images[n], kernel_size, sigma[n].item())
        assert (view - (blurred if active[n] else images[n])).abs().max() < CLOSE


# Sides that are multiples of the block size, and others.
@pytest.mark.parametrize(("height", "width"), [(128, 160), (130, 129), (224, 224), (159, 300)])
@pytest.mark.parametrize("taps", [1, 3, 23])
def test_blur_of_large_images_in_blocks_equals_whole_matrices(height, width, taps):
    weights = blur.gaussian_weights(torch.tensor([0.1, 1.3, 7.0]), taps)
    planes = images_of((2, 3, height, width))
    whole = [blur.blur_matrix(weights, side) for side in (height, width)]
    expected = torch.einsum("noh,cnhw,npw->cnop", whole[0], planes, whole[1])
    assert (blur.blur_in_blocks(planes.clone(), weights) - expected).abs().max() < 1e-6
    images = planes.transpose(0, 1)
    module = GaussianBlur(taps)
    assert torch.equal(
        module.transform(images, dict(active=torch.ones(3, dtype=bool), sigma=torch.tensor([0.1, 1.3, 7.0]))),
        blur.blur_in_blocks(planes.clone(), weights).transpose(0, 1),
    )


@pytest.mark.parametrize(("mean", "std"), [([0.5, 0.4, 0.3], [0.2, 0.3, 0.4]), ([0.5], [0.25])])
def test_normalize_equals_torchvision(mean, std):
    images = images_of((2, 3, 9, 8))
    assert torch.allclose(Normalize(mean, std)(images), tv.normalize(images, mean, std), atol=1e-6)
    levels = (images * 255).to(torch.uint8)
    expected = tv.normalize(levels / 255, mean, std)
    assert torch.allclose(Normalize(mean, std)(levels), expected, atol=1e-5)
