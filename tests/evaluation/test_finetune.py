import copy

import pytest
import torch
from torch import nn

from ssl_ext.capture import Tape
from ssl_ext.evaluation import Recipe, finetune, train_classifier
from ssl_ext.evaluation.fitting import fit


class Images:
    """Noisy images of two classes; class 1 is brighter."""

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


def make_net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())


def clean(images):
    return images.float() / 127.5 - 1


def run(task="multi-class", net=None, rows=None, refit_rows=None, seed=0, augment=None, **settings):
    recipe = Recipe(**{**dict(steps=40, batch_size=8, lr=1e-2, optimizer="adamw", evaluations=4), **settings})
    return train_classifier(
        net or make_net(), Images(20, 0, task), torch.arange(20) if rows is None else rows,
        refit_rows=refit_rows, val=Images(30, 1, task), test=Images(50, 2, task), num_classes=2,
        preprocess=clean, recipe=recipe, task=task, seed=seed, augment=augment,
    )  # fmt: skip


@pytest.mark.parametrize("task", ["multi-class", "binary", "multi-label"])
def test_it_learns_what_can_be_learnt(task):
    outcome = run(task)
    assert outcome.last["acc"] == 1
    assert outcome.best["acc"] == outcome.best["auc"] == 1
    assert outcome.settings["chosen_on_validation"]["best_step"] in (10, 20, 30, 40)
    assert list(outcome.settings["chosen_on_validation"]["checked"]) == [10, 20, 30, 40]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_two_steps_equal_a_loop_by_hand(optimizer):
    net, rows = make_net(), torch.arange(0, 20, 2)
    by_hand, data = copy.deepcopy(net), Images(20, 0)
    outcome = run(
        net=net, rows=rows, steps=2, batch_size=4, optimizer=optimizer, lr=0.1, schedule="cosine", seed=5,
        evaluations=1,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(5)
    head = nn.Linear(64, 2)
    head.weight.data.uniform_(-1 / 8, 1 / 8, generator=generator)
    head.bias.data.zero_()
    order = rows[torch.randperm(10, generator=generator)]
    model = nn.Sequential(by_hand, head).train()
    kind, momentum = (torch.optim.SGD, dict(momentum=0.9)) if optimizer == "sgd" else (torch.optim.Adam, {})
    learner = kind(model.parameters(), lr=0.1, weight_decay=1e-6, **momentum)
    losses, right = [], 0
    for rate, batch in ((0.1, order[:4]), (0.05, order[4:8])):
        learner.param_groups[0]["lr"] = rate
        learner.zero_grad()
        logits = model(clean(data.images[batch]))
        losses.append(nn.functional.cross_entropy(logits, data.labels[batch]))
        right += (logits.argmax(1) == data.labels[batch]).sum().item()
        losses[-1].backward()
        learner.step()
    for ours, theirs in zip(net.state_dict().values(), by_hand.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs)
    test = Images(50, 2)
    model.eval()
    share = (model(clean(test.images)).argmax(1) == test.labels).float().mean()
    assert outcome.last["acc"] == pytest.approx(share.item())
    val = Images(30, 1)
    with torch.no_grad():
        logits = model(clean(val.images))
    found = dict(
        step=2, epoch=1, loss=sum(losses).item() / 2, acc=right / 8,
        val_loss=nn.functional.cross_entropy(logits, val.labels).item(),
        val_acc=(logits.argmax(1) == val.labels).float().mean().item(),
    )  # fmt: skip
    assert outcome.curves == {name: [pytest.approx(value, rel=1e-5)] for name, value in found.items()}


@pytest.mark.parametrize("task", ["multi-class", "binary", "multi-label"])
def test_curves_of_recorded_steps_equal_those_of_plain_ones(task, monkeypatch):
    build, fit_plainly = Recipe.build_optimizer, finetune.fit

    def fused(recipe, parameters):
        optimizer = build(recipe, parameters)
        optimizer.param_groups[0]["fused"] = True
        return optimizer

    # The kernel of a recorded step, so that only recording differs.
    monkeypatch.setattr(Recipe, "build_optimizer", fused)
    plain = run(task, optimizer="adam", batch_size=5, steps=16)
    monkeypatch.setattr(
        finetune, "fit", lambda *args, **settings: fit_plainly(*args, **{**settings, "recorder": Tape})
    )
    recorded = run(task, optimizer="adam", batch_size=5, steps=16)
    assert list(plain.curves) == list(finetune.CURVES) and plain.curves["step"] == [4, 8, 12, 16]
    assert plain.curves["val_acc"] == list(plain.settings["chosen_on_validation"]["checked"].values())
    for name, values in plain.curves.items():
        assert recorded.curves[name] == values, name


def test_the_seed_decides_and_the_callers_random_state_stays():
    nets = [make_net() for _ in range(3)]
    torch.manual_seed(5)
    before = torch.get_rng_state()
    short = dict(steps=2, evaluations=1, augment=lambda images: clean(images) * torch.rand(()))
    first, again, other = (run(net=net, seed=s, **short) for net, s in zip(nets, (0, 0, 1), strict=True))
    assert torch.equal(torch.get_rng_state(), before)
    assert first == again
    assert first.last != other.last


def test_training_sees_augmented_images_and_scoring_clean_ones():
    seen = []

    def augment(images):
        seen.append(len(images))
        return clean(255 - images)  # swaps the classes, so the classifier is wrong on clean images

    outcome = run(augment=augment)
    assert seen == ([8, 8, 4] * 14)[:40]
    assert outcome.last["acc"] < 0.5


def test_best_weights_are_those_of_the_best_check():
    calls = []

    def breaking(images):
        calls.append(1)
        return clean(images) if len(calls) <= 20 else clean(255 - images)

    outcome = run(augment=breaking, lr=3e-2, steps=80, evaluations=8)
    chosen = outcome.settings["chosen_on_validation"]
    assert chosen["best_step"] <= 30
    assert outcome.best["acc"] == 1
    assert outcome.last["acc"] < 0.5
    kept = outcome.predictions
    for which, rate in (("best", chosen["validation_accuracy"]), ("last", chosen["checked"][80])):
        assert (kept.val[which].predicted == kept.val_labels).mean() == rate
        assert (kept.test[which].predicted == kept.labels).mean() == getattr(outcome, which)["acc"]


def test_a_refit_is_the_training_on_its_rows_up_to_the_chosen_check():
    """The weights of the best check are those of a training of that length on the refit's rows."""
    short = dict(epochs=4, steps=None, evaluations=None, batch_size=4, lr=3e-3)
    some, every = torch.arange(0, 20, 2), torch.arange(20)
    net, plain = make_net(), make_net()
    refitted, alone = run(net=net, rows=some, refit_rows=every, **short), run(rows=some, **short)
    chosen = refitted.settings["chosen_on_validation"]
    assert chosen == alone.settings["chosen_on_validation"]
    assert refitted.settings["fit_includes_validation"] and not alone.settings["fit_includes_validation"]
    best_epoch = chosen["best_step"] // 3  # 10 rows: batches of 4, 4 and 2
    assert refitted.last == run(rows=every, **short).last
    run(net=plain, rows=every, **{**short, "epochs": best_epoch, "evaluations": 1})
    for ours, theirs in zip(net.state_dict().values(), plain.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_only_the_given_rows_are_trained_on():
    seen = []
    rows = torch.tensor([3, 4, 8, 11])
    train, wanted = Images(20, 0), Images(20, 0).images[rows].sum()

    def augment(images):
        seen.append(images.sum())
        return clean(images)

    outcome = train_classifier(
        make_net(), train, rows, val=Images(4, 1), test=Images(4, 2), num_classes=2, preprocess=clean,
        recipe=Recipe(epochs=2, batch_size=512), augment=augment,
    )  # fmt: skip
    assert seen == [wanted, wanted]
    assert outcome.settings["batch_size"] == 4


def test_too_few_or_unlabelled_rows():
    with pytest.raises(ValueError, match="1 images to train on: at least 2"):
        run(rows=torch.tensor([3]))
    data = Images(4, 0)
    data.labels[2] = -1
    with pytest.raises(ValueError, match="all labelled"):
        train_classifier(
            make_net(), data, torch.arange(4), val=data, test=data, num_classes=2, preprocess=clean,
            recipe=Recipe(),
        )  # fmt: skip


def test_a_recorded_fit_equals_the_plain_one(monkeypatch):
    """Dropout, batch norm, a schedule and checks between the steps."""
    plain = Recipe.build_optimizer
    monkeypatch.setattr(
        Recipe, "build_optimizer", lambda recipe, parameters: fused(plain(recipe, parameters))
    )

    def fused(optimizer):
        optimizer.param_groups[0]["fused"] = True
        return optimizer

    def train(recorder):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, 3))
        inputs, labels = torch.randn(40, 6), torch.arange(40) % 3
        seen = []

        def source(parts):
            return ((inputs[rows], labels[rows]) for rows in parts)

        def watch(*at):
            seen.append(nn.utils.parameters_to_vector(net.parameters()).clone())

        fit(
            list(net.parameters()),
            source,
            lambda x, y: nn.functional.cross_entropy(net(x), y),
            count=40,
            recipe=Recipe(optimizer="adamw", lr=0.01, batch_size=12, epochs=4, schedule="cosine"),
            generator=torch.Generator().manual_seed(1),
            watch=watch,
            recorder=recorder,
        )
        return torch.stack(seen), nn.utils.parameters_to_vector(net[1].buffers())

    (weights, statistics), (recorded, others) = train(None), train(Tape)
    assert len(weights) == 4 and torch.equal(weights, recorded) and torch.equal(statistics, others)
