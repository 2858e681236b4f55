import pytest
import torch
from torch import nn

from ssl_ext.evaluation import train_from_scratch


class Images:
    """Bright or dark images: class 1 is brighter, with noise."""

    def __init__(self, count, seed, task="multi-class"):
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.arange(count) % 2
        noise = torch.randint(0, 60, (count, 1, 6, 6), generator=generator)
        self.images = (60 + 100 * self.labels[:, None, None, None] + noise).to(torch.uint8)
        if task == "multi-label":
            self.labels = torch.stack([self.labels, 1 - self.labels], dim=1)

    def __len__(self):
        return len(self.images)

    def __getitems__(self, rows):
        return dict(inputs=self.images[rows], labels=self.labels[rows])


def make_net():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())


def clean(images):
    return images.float() / 127.5 - 1


def run(task="multi-class", **settings):
    train = Images(20, 0, task)
    options = dict(steps=40, batch_size=8, lr=1e-2, evaluations=4, preprocess=clean, task=task)
    return train_from_scratch(
        make_net, train.images, train.labels, val=Images(30, 1, task), test=Images(50, 2, task),
        num_classes=2, **{**options, **settings},
    )  # fmt: skip


@pytest.mark.parametrize("task", ["multi-class", "binary", "multi-label"])
def test_it_learns_what_can_be_learnt(task):
    outcome = run(task)
    assert outcome.last["acc"] == 1
    assert outcome.best == {"acc": 1, "auc": 1}
    assert outcome.settings["chosen_on_validation"]["best_step"] in (10, 20, 30, 40)


def test_the_seed_decides_and_the_callers_random_state_stays():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (run(steps=2, evaluations=1, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert first == again
    assert first.last != other.last


def test_training_sees_augmented_images_and_scoring_clean_ones():
    seen = []

    def augment(images):
        seen.append(len(images))
        return clean(255 - images)  # classes swapped: what is learnt is wrong on clean images

    outcome = run(augment=augment)
    assert seen == [8] * 40
    assert outcome.last["acc"] < 0.5
    assert outcome.settings["augmented"]


def test_best_weights_are_those_of_the_best_check():
    calls = []

    def breaking(images):
        calls.append(1)
        return clean(images) if len(calls) <= 20 else clean(255 - images)

    outcome = run(augment=breaking, lr=3e-2, steps=80, evaluations=8)
    assert outcome.settings["chosen_on_validation"]["best_step"] <= 30
    assert outcome.best["acc"] == 1
    assert outcome.last["acc"] < 0.5


def test_batches_are_at_most_all_images():
    assert run(batch_size=512, steps=2, evaluations=2).settings["batch_size"] == 20


def test_bad_settings():
    for settings, words in (
        (dict(optimizer="sgd"), "optimizer='sgd'"),
        (dict(steps=3, evaluations=4), "evaluations=4"),
        (dict(batch_size=1), "batch_size=1"),
    ):
        with pytest.raises(ValueError, match=words):
            run(**settings)
    image = torch.zeros(1, 1, 6, 6, dtype=torch.uint8)
    with pytest.raises(ValueError, match="at least 2"):
        train_from_scratch(
            make_net, image, torch.zeros(1, dtype=torch.int64), val=Images(4, 1), test=Images(4, 2),
            num_classes=2, preprocess=clean,
        )  # fmt: skip
