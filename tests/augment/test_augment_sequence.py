"""Sequences: folding, reproducibility, devices, dtypes and errors for bad input."""

import pytest
import torch

from ssl_ext import augment as a
from ssl_ext.augment import AugmentationSequence

SHAPE = (12, 3, 24, 20)


def simclr():
    return AugmentationSequence(
        [
            a.RandomResizedCrop(16, scale=(0.2, 1.0)),
            a.RandomHorizontalFlip(),
            a.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
            a.RandomGrayscale(0.2),
            a.GaussianBlur(3, p=0.5),
            a.RandomSolarize(p=0.2),
        ]
    )


EVERY = [
    a.RandomResizedCrop(16),
    a.RandomHorizontalFlip(),
    a.ColorJitter(0.4, 0.4, 0.4, 0.1),
    a.ColorJitter(hue=0.2),
    a.RandomGrayscale(0.5),
    a.GaussianBlur(5),
    a.RandomSolarize(),
    a.RandomEqualize(),
    a.RandomSharpness(p=0.7),
    a.RandomRotation(20),
    a.RandomCrop(24, padding=4),
    a.RandomCrop((20, 16), padding=2, padding_mode="zeros"),
    a.Normalize([0.5] * 3, [0.2] * 3),
    simclr(),
    AugmentationSequence([]),
]


def levels(seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, SHAPE, dtype=torch.uint8, generator=random)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_sequence_equals_its_members_one_by_one():
    images = levels()
    sequence = simclr()
    params = sequence.draw(images.shape, generator=seeded())
    expected = images
    for member, own in zip(sequence, params, strict=True):
        expected = member.transform(expected, own)
    assert (sequence.transform(images, params) - expected).abs().max() < 1e-5
    assert (sequence(images, seeded()) - expected).abs().max() < 1e-5


def test_flip_is_folded_only_right_after_a_crop():
    images = levels()
    for members in (
        [a.RandomResizedCrop(8), a.RandomHorizontalFlip(0.5), a.RandomHorizontalFlip(0.5)],
        [a.RandomResizedCrop(8), a.RandomSolarize(0.5, p=0.5), a.RandomHorizontalFlip(0.5)],
        [a.RandomHorizontalFlip(0.5), a.RandomResizedCrop(8)],
    ):
        sequence = AugmentationSequence(members)
        params = sequence.draw(images.shape, generator=seeded(4))
        expected = images
        for member, own in zip(members, params, strict=True):
            expected = member.transform(expected, own)
        assert (sequence.transform(images, params) - expected).abs().max() < 1e-5


def test_nested_sequences_are_unfolded():
    inner = simclr()
    outer = AugmentationSequence([inner, a.Normalize([0.5], [0.5])])
    assert len(outer) == len(inner) + 1
    images = levels()
    assert torch.allclose(outer(images, seeded()), inner(images, seeded()) * 2 - 1, atol=1e-5)


@pytest.mark.parametrize("operation", EVERY, ids=repr)
def test_same_seed_same_views_and_the_input_stays(operation):
    images = levels() / 255
    before = images.clone()
    views = operation(images, seeded(1))
    assert torch.equal(images, before)
    assert views.dtype == torch.float32 and views.is_contiguous()
    assert views.shape == operation.output_shape(tuple(images.shape))
    assert views.data_ptr() != images.data_ptr()
    assert torch.equal(views, operation(images, seeded(1)))
    torch.manual_seed(7)
    once = operation(images)
    torch.manual_seed(7)
    assert torch.equal(once, operation(images))


@pytest.mark.parametrize("operation", EVERY, ids=repr)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64, torch.float16])
def test_input_types_agree(operation, dtype):
    images = levels()
    expected = operation(images / 255, seeded())
    other = images if dtype == torch.uint8 else (images / 255).to(dtype)
    # In half precision values at the solarisation threshold may move by less than one of 256 levels.
    atol = 1e-5 if dtype != torch.float16 else 5e-3
    if dtype == torch.float16 and "Solarize" in repr(operation):
        pytest.skip("a threshold between two roundings of one level")
    assert torch.allclose(operation(other, seeded()), expected, atol=atol)


@pytest.mark.parametrize("operation", EVERY, ids=repr)
def test_permuting_the_samples_permutes_the_views(operation):
    images = levels()
    if isinstance(operation, AugmentationSequence):
        operation = AugmentationSequence([*operation])
        params = operation.draw(images.shape, generator=seeded())
        order = torch.randperm(len(images), generator=seeded(3))
        moved = [{k: v[order] for k, v in own.items()} for own in params]
    else:
        params = operation.draw(images.shape, generator=seeded())
        order = torch.randperm(len(images), generator=seeded(3))
        moved = {k: v[order] for k, v in params.items()}
    expected = operation.transform(images, params)[order]
    assert torch.allclose(operation.transform(images[order], moved), expected, atol=1e-5)


@pytest.mark.parametrize("operation", EVERY, ids=repr)
def test_nothing_waits_for_the_device(operation):
    """Meta tensors have no data, so every host read raises."""
    images = levels().to("meta")
    views = operation(images, seeded())
    assert views.device.type == "meta"
    assert views.shape == operation.output_shape(SHAPE)


@pytest.mark.parametrize("operation", EVERY, ids=repr)
def test_the_way_of_accelerators_gives_the_views_of_the_cpu(operation, monkeypatch):
    images = levels()
    expected = operation(images, seeded())
    monkeypatch.setattr(torch.Tensor, "is_cpu", False)
    assert (operation(images, seeded()) - expected).abs().max() < 1e-5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("operation", EVERY, ids=repr)
def test_gpu_gives_the_views_of_the_cpu(operation):
    images = levels()
    expected = operation(images, seeded())
    on_gpu = images.cuda()
    operation.to("cuda")
    operation(on_gpu, seeded())
    torch.cuda.set_sync_debug_mode("error")
    try:
        views = operation(on_gpu, seeded())
    finally:
        torch.cuda.set_sync_debug_mode("default")
        operation.to("cpu")
    assert (views.cpu() - expected).abs().max() < 1 / 255


@pytest.mark.parametrize("operation", EVERY, ids=repr)
def test_autocast_does_not_round_the_views(operation):
    images = levels()
    expected = operation(images, seeded())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(operation(images, seeded()), expected)


def test_each_sample_has_its_own_draw():
    image = levels()[:1].expand(SHAPE)
    views = simclr()(image, seeded())
    assert all(not torch.equal(views[0], view) for view in views[1:])


def test_a_batch_of_one_and_of_none():
    for count in (1, 0):
        assert simclr()(levels()[:count], seeded()).shape == (count, 3, 16, 16)


def test_views_need_no_gradient():
    images = torch.rand(SHAPE, requires_grad=True)
    assert not simclr()(images).requires_grad


def test_weight_initialisation_of_a_surrounding_model_passes_by():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), simclr())
    seen = []
    model.apply(lambda module: seen.append(type(module).__name__))
    assert "ColorJitter" in seen


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: a.RandomResizedCrop(0), r"RandomResizedCrop.size .* got 0"),
        (lambda: a.RandomResizedCrop((8, 8, 8)), r"RandomResizedCrop.size"),
        (lambda: a.RandomResizedCrop(8, scale=(0.5, 1.5)), r"RandomResizedCrop.scale .*1.5"),
        (lambda: a.RandomResizedCrop(8, scale=(0.5, 0.2)), r"RandomResizedCrop.scale"),
        (lambda: a.RandomResizedCrop(8, ratio=(0, 1)), r"RandomResizedCrop.ratio"),
        (lambda: a.RandomHorizontalFlip(1.1), r"RandomHorizontalFlip.p .* got 1.1"),
        (lambda: a.ColorJitter(brightness=-0.1), r"ColorJitter.brightness .* got -0.1"),
        (lambda: a.ColorJitter(contrast=(0.5, 0.1)), r"ColorJitter.contrast"),
        (lambda: a.ColorJitter(hue=0.6), r"ColorJitter.hue .* got 0.6"),
        (lambda: a.ColorJitter(hue=(-0.6, 0.1)), r"ColorJitter.hue"),
        (lambda: a.ColorJitter(p=2), r"ColorJitter.p"),
        (lambda: a.RandomGrayscale(-1), r"RandomGrayscale.p"),
        (lambda: a.RandomSolarize(threshold=128), r"RandomSolarize.threshold .* got 128"),
        (lambda: a.RandomEqualize(p=-0.5), r"RandomEqualize.p .* got -0.5"),
        (lambda: a.RandomSharpness((-1.0, 2.0)), r"RandomSharpness.factor .* got \(-1.0, 2.0\)"),
        (lambda: a.RandomSharpness((10.0, 1.0)), r"RandomSharpness.factor"),
        (lambda: a.RandomSharpness(p=1.5), r"RandomSharpness.p .* got 1.5"),
        (lambda: a.GaussianBlur(4), r"GaussianBlur.kernel_size .* got 4"),
        (lambda: a.GaussianBlur(3, sigma=(0.0, 1.0)), r"GaussianBlur.sigma"),
        (lambda: a.RandomRotation(-3), r"RandomRotation.degrees .* got -3"),
        (lambda: a.RandomCrop(8, padding=-1), r"RandomCrop.padding .* got -1"),
        (lambda: a.RandomCrop(8, padding_mode="edge"), r"RandomCrop.padding_mode .*'edge'"),
        (lambda: a.Normalize([0.5], [0.5, 0.5]), r"Normalize: mean has 1 channels and std has 2"),
        (lambda: a.Normalize([0.5], [0.0]), r"standard deviations above 0 up to 1"),
        (
            lambda: a.Normalize([123.7], [58.4]),
            r"Normalize: mean=\[123.7\], std=\[58.4\] must be in the units of images in \[0, 1\]",
        ),
    ],
)
def test_bad_arguments_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_members_must_be_augmentations():
    with pytest.raises(TypeError, match=r"transforms\[1\] .* got ReLU"):
        AugmentationSequence([a.RandomHorizontalFlip(), torch.nn.ReLU()])


@pytest.mark.parametrize("operation", [simclr(), a.RandomHorizontalFlip()], ids=["sequence", "one"])
def test_bad_images_are_named(operation):
    with pytest.raises(ValueError, match=r"batch \(N, C, H, W\), got 3 dimensions"):
        operation(torch.rand(3, 8, 8))
    with pytest.raises(TypeError, match=r"got torch.int64"):
        operation(torch.zeros(1, 3, 8, 8, dtype=torch.int64))
    with pytest.raises(TypeError, match=r"got ndarray"):
        operation(levels().numpy())


@pytest.mark.parametrize(
    ("operation", "shape", "message"),
    [
        (a.ColorJitter(0.4), (2, 4, 8, 8), r"ColorJitter takes images with 1 or 3 channels, got 4"),
        (a.RandomGrayscale(), (2, 2, 8, 8), r"RandomGrayscale takes images with 1 or 3 channels"),
        (a.RandomEqualize(), (2, 2, 8, 8), r"RandomEqualize takes images with 1 or 3 channels, got 2"),
        (a.GaussianBlur(9), (2, 3, 8, 4), r"GaussianBlur.kernel_size 9 .* got 8 x 4"),
        (a.RandomCrop(20, padding=2), (2, 3, 12, 30), r"RandomCrop.size .* larger than images"),
        (a.RandomCrop(4, padding=8), (2, 3, 8, 8), r"cannot be reflected"),
        (a.Normalize([0.5] * 3, [0.5] * 3), (2, 1, 8, 8), r"3 means, images have 1 channels"),
        (
            AugmentationSequence([a.RandomResizedCrop(4), a.GaussianBlur(9)]),
            (2, 3, 64, 64),
            r"GaussianBlur.kernel_size 9 .* got 4 x 4",
        ),
    ],
)
def test_shapes_that_do_not_fit_are_named(operation, shape, message):
    with pytest.raises(ValueError, match=message):
        operation(torch.rand(shape))
