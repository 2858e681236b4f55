"""Crops, flips and rotations equal torchvision's, sample by sample."""

import pytest
import torch
from torchvision.transforms import functional as tv
from torchvision.transforms import v2

from ssl_ext.augment import RandomCrop, RandomHorizontalFlip, RandomResizedCrop, RandomRotation, resized_crop

SHAPES = [(5, 3, 32, 32), (4, 1, 28, 28), (1, 3, 17, 31), (3, 4, 40, 9)]
BIT = 1 / 255


def images_of(shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def crop_params(boxes):
    top, left, height, width = torch.tensor(boxes).unbind(1)
    return {"top": top, "left": left, "height": height, "width": width}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [32, (13, 20), 64])
def test_resized_crop_equals_torchvision(shape, size):
    images = images_of(shape)
    crop = RandomResizedCrop(size, scale=(0.05, 1.0), ratio=(0.5, 2.0))
    params = crop.draw(shape, generator=torch.Generator().manual_seed(1))
    views = crop.transform(images, params)
    for n, view in enumerate(views):
        i, j, h, w = (params[k][n].item() for k in ("top", "left", "height", "width"))
        expected = tv.resized_crop(images[n], i, j, h, w, list(crop.size), antialias=True)
        assert (view - expected).abs().max() < 1e-5


@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 64, 64),  # shrinking: antialiased
        (10, 3, 50, 41),
        (63, 63, 1, 1),  # one pixel
        (0, 60, 64, 2),  # shrinking one axis, enlarging the other
        (7, 9, 16, 16),  # no change of scale
        (7, 9, 5, 3),
    ],
)
def test_resized_crop_of_every_scale(box):
    images = images_of((1, 3, 64, 64))
    view = RandomResizedCrop(16).transform(images, crop_params([box]))[0]
    expected = v2.functional.resized_crop(images[0], *box, [16, 16], antialias=True)
    assert (view - expected).abs().max() < 1e-5


def test_resized_crop_of_uint8_is_within_rounding():
    images = (images_of((2, 3, 33, 45)) * 255).to(torch.uint8)
    boxes = [(0, 0, 33, 45), (3, 5, 9, 7)]
    views = RandomResizedCrop(24).transform(images, crop_params(boxes))
    for image, box, view in zip(images, boxes, views, strict=True):
        expected = tv.resized_crop(image, *box, [24, 24], antialias=True)
        assert (view - expected / 255).abs().max() <= 2 * BIT


@pytest.mark.parametrize("large", [128, 2000])
def test_resized_crop_in_large_images_keeps_its_precision(large, monkeypatch):
    monkeypatch.setattr(resized_crop, "LARGE", large)
    images = images_of((1, 1, 500, 1000))
    box = (137, 611, 300, 377)
    view = RandomResizedCrop(224).transform(images, crop_params([box]))[0]
    expected = tv.resized_crop(images[0], *box, [224, 224], antialias=True)
    assert (view - expected).abs().max() < 1e-3


def test_resized_crop_flips_through_its_matrix():
    images = images_of((6, 3, 20, 25))
    crop = RandomResizedCrop((11, 16))
    params = crop.draw(images.shape, generator=torch.Generator().manual_seed(0))
    flip = torch.tensor([True, False, True, True, False, False])
    plain, folded = crop.transform(images, params), crop.transform(images, {**params, "flip": flip})
    expected = torch.where(flip.view(-1, 1, 1, 1), plain.flip(-1), plain)
    assert (folded - expected).abs().max() < 1e-6


@pytest.mark.parametrize("shape", [(4, 3, 140, 200), (3, 1, 128, 128)])
@pytest.mark.parametrize("size", [None, 60, (90, 224)])
def test_large_images_one_by_one_equal_products_with_matrices(shape, size, monkeypatch):
    images, generator = images_of(shape), torch.Generator().manual_seed(1)
    crop = RandomResizedCrop(size, scale=(0.05, 1.0), ratio=(0.5, 2.0))
    params = crop.draw(shape, generator=generator)
    params["flip"] = torch.tensor([True, False, True, True][: len(images)])
    calls = []
    real = resized_crop.crop_one_by_one
    monkeypatch.setattr(resized_crop, "crop_one_by_one", lambda *args: calls.append(1) or real(*args))
    views = crop.transform(images, params)
    assert calls
    monkeypatch.setattr(resized_crop, "LARGE", 1000)
    # Coordinates of some hundred pixels have an error of 1e-5 in float32.
    assert (views - crop.transform(images, params)).abs().max() < 1e-4
    assert len(calls) == 1


def test_resized_crop_without_size_keeps_the_size():
    crop = RandomResizedCrop(scale=(0.3, 0.4))
    assert crop(images_of((2, 3, 18, 30))).shape == (2, 3, 18, 30)
    whole = RandomResizedCrop(scale=(1.0, 1.0), ratio=(1.0, 1.0))
    images = images_of((2, 3, 16, 16))
    assert torch.allclose(whole(images), images, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_flip_mirrors_the_active_samples_only(shape):
    images = images_of(shape)
    active = torch.arange(shape[0]) % 2 == 0
    views = RandomHorizontalFlip().transform(images, {"active": active})
    for image, view, on in zip(images, views, active, strict=True):
        assert torch.equal(view, tv.hflip(image) if on else image)


@pytest.mark.parametrize("shape", SHAPES)
def test_rotation_equals_torchvision(shape):
    images = images_of(shape)
    angles = torch.linspace(-170, 133, shape[0])
    views = RandomRotation(180).transform(images, {"angle": angles})
    for image, angle, view in zip(images, angles, views, strict=True):
        expected = tv.rotate(image, angle.item(), tv.InterpolationMode.BILINEAR)
        assert (view - expected).abs().max() < 1e-4


def test_padded_crop_has_the_size_of_the_image_by_default():
    images = images_of((5, 3, 12, 17))
    same, given = RandomCrop(padding=4), RandomCrop((12, 17), padding=4)
    draws = [crop(images, torch.Generator().manual_seed(3)) for crop in (same, given)]
    assert torch.equal(*draws) and draws[0].shape == images.shape
    assert same(images[..., :9], torch.Generator().manual_seed(3)).shape == (5, 3, 12, 9)


@pytest.mark.parametrize(("mode", "theirs"), [("reflect", "reflect"), ("zeros", "constant")])
@pytest.mark.parametrize("shape", SHAPES)
def test_padded_crop_equals_torchvision(shape, mode, theirs):
    images = images_of(shape)
    crop = RandomCrop((shape[2] - 2, shape[3] + 1), padding=5, padding_mode=mode)
    params = crop.draw(shape, generator=torch.Generator().manual_seed(3))
    views = crop.transform(images, params)
    for n, view in enumerate(views):
        padded = tv.pad(images[n], [5], padding_mode=theirs)
        expected = tv.crop(padded, params["top"][n], params["left"][n], *crop.size)
        assert torch.equal(view, expected)
