"""From a uint8 batch to normalised views."""

import pytest
import torch

from ssl_ext.augment import AugmentationSequence, GaussianBlur, RandomHorizontalFlip
from ssl_ext.models import MultiViewPreprocessor, build_augmentation
from ssl_ext.registry import AUGMENTATIONS, MODELS

MEAN, STD = (0.2, 0.5, 0.7), (0.1, 0.2, 0.4)
RANDOM = [dict(type="RandomResizedCrop", scale=(0.3, 1.0)), dict(type="RandomHorizontalFlip")]
BLUR = dict(type="GaussianBlur", kernel_size=3, sigma=(1.0, 1.0), p=1.0)
SOLARIZE = dict(type="RandomSolarize", threshold=0.5, p=1.0)


def batch(channels=3):
    images = torch.randint(0, 256, (5, channels, 8, 8), dtype=torch.uint8)
    return dict(inputs=images, labels=torch.arange(5), indices=torch.arange(5) + 10)


def preprocessor(*views):
    return MultiViewPreprocessor(mean=MEAN, std=STD, views=views)


def normalized(images):
    """The formula, for images in [0, 1]."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (images - mean) / std


def test_clean_pass_normalises_and_hands_on_the_rest():
    data = batch()
    images = data["inputs"].clone()
    result = preprocessor(dict(repeats=2, transforms=RANDOM))(data, training=False)
    torch.testing.assert_close(result["inputs"], normalized(images / 255))
    assert result["inputs"].dtype == torch.float32
    assert result["data_samples"].keys() == {"labels", "indices"}
    assert torch.equal(result["data_samples"]["indices"], torch.arange(5) + 10)
    # The caller's batch is not modified.
    assert data.keys() == {"inputs", "labels", "indices"} and torch.equal(data["inputs"], images)


def test_training_gives_one_normalised_batch_for_every_repeat():
    model = preprocessor(dict(repeats=2, transforms=[]), dict(transforms=[SOLARIZE]))
    data = batch()
    clean = data["inputs"] / 255
    views = model(data, training=True)["inputs"]
    assert model.num_views == len(views) == 3
    torch.testing.assert_close(views[0], normalized(clean))
    torch.testing.assert_close(views[1], normalized(clean))
    torch.testing.assert_close(views[2], normalized(torch.where(clean >= 0.5, 1 - clean, clean)))


def test_asymmetric_views_each_have_their_own_transforms():
    model = preprocessor(dict(transforms=[BLUR]), dict(transforms=[BLUR, SOLARIZE]))
    data = batch()
    first, second = model(data, training=True)["inputs"]
    blurred = GaussianBlur(3, sigma=(1.0, 1.0), p=1.0)(data["inputs"])
    torch.testing.assert_close(first, normalized(blurred))
    torch.testing.assert_close(second, normalized(torch.where(blurred >= 0.5, 1 - blurred, blurred)))


def test_repeats_are_drawn_anew_and_the_generator_decides_them():
    model = preprocessor(dict(repeats=2, transforms=RANDOM))
    images = batch()["inputs"]

    def draw(seed):
        return model.draw_views(images, torch.Generator().manual_seed(seed))

    first, second = draw(0)
    assert all((first[i] - second[i]).abs().max() > 1e-3 for i in range(len(images)))
    again = draw(0)
    assert torch.equal(again[0], first) and torch.equal(again[1], second)
    assert not torch.equal(draw(1)[0], first)
    assert first.min() >= 0 and first.max() <= 1
    with_mean = model.draw_views(images, torch.Generator().manual_seed(0), normalize=True)
    torch.testing.assert_close(with_mean[0], normalized(first))


def test_without_a_generator_the_global_seed_decides():
    model, data = preprocessor(dict(repeats=2, transforms=RANDOM)), batch()
    torch.manual_seed(3)
    first = model(data, training=True)["inputs"]
    second = model(data, training=True)["inputs"]
    torch.manual_seed(3)
    again = model(data, training=True)["inputs"]
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], second[0])


def test_it_adds_nothing_to_checkpoints():
    assert not preprocessor(dict(transforms=RANDOM)).state_dict()


def test_channels_that_do_not_match_are_named():
    with pytest.raises(ValueError, match=r"\(5, 1, 8, 8\).*3 channels.*data_preprocessor.mean"):
        preprocessor()(batch(channels=1))
    with pytest.raises(ValueError, match="5, 8, 8"):
        preprocessor()(dict(inputs=torch.zeros(5, 8, 8, dtype=torch.uint8)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(mean=[0.5]), "mean has 1 channels and std has 3"),
        (dict(mean=[123.0, 116.0, 103.0]), r"mean=\[123.0, 116.0, 103.0\].*images in \[0, 1\]"),
        (dict(std=[0.0, 0.1, 0.1]), "standard deviations above 0"),
        (dict(views=[dict(transforms=[]), dict(transforms=[], repeats=0)]), r"views\[1\].repeats is 0"),
        (dict(views=[dict(transforms=[], repeats=1.5)]), r"views\[0\].repeats is 1.5"),
        (dict(views=[dict(repeats=2)]), r"views\[0\] has the keys \['repeats'\]"),
        (dict(views=[dict(transforms=[], n=2)]), r"views\[0\] has the keys \['n', 'transforms'\]"),
        (dict(views=[dict(transforms=[dict(type="RandomHorizontalFlip", p=2)])]), r"got 2"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises((ValueError, TypeError), match=message):
        MultiViewPreprocessor(**{"mean": MEAN, "std": STD, **settings})


def test_augmentations_are_built_by_name():
    sequence = build_augmentation([dict(type="RandomHorizontalFlip", p=1.0), BLUR])
    assert isinstance(sequence, AugmentationSequence)
    assert [type(member) for member in sequence] == [RandomHorizontalFlip, GaussianBlur]
    assert BLUR["type"] == "GaussianBlur"  # configs are not modified
    with pytest.raises(KeyError, match="RandomFlipp"):
        AUGMENTATIONS.build(dict(type="RandomFlipp"))
    assert MODELS.get("MultiViewPreprocessor") is MultiViewPreprocessor


def test_a_view_names_its_sequence():
    class Twice(AugmentationSequence):
        def __init__(self, transforms):
            super().__init__([*transforms, *transforms])

    AUGMENTATIONS.register_module(name="Twice", module=Twice)
    try:
        made = preprocessor(dict(type="Twice", transforms=RANDOM), dict(transforms=RANDOM))
    finally:
        AUGMENTATIONS.module_dict.pop("Twice")
    assert [len(view) for view in made.views] == [4, 2]
