import math

import pytest
import torch

from ssl_ext.evaluation import Recipe
from ssl_ext.evaluation.fitting import fit


def test_a_rate_falls_at_epochs_at_shares_and_at_steps():
    by_epoch = Recipe(lr=30.0, epochs=10, milestones=[6, 8])
    by_share = Recipe(lr=30.0, epochs=10, milestones=[0.6, 0.8])
    for step in range(40):
        expected = 30 if step < 24 else 3 if step < 32 else 0.3
        assert by_epoch.rate(step, 40, 4) == pytest.approx(expected)
        assert by_share.rate(step, 40, 4) == pytest.approx(expected)
    by_step = Recipe(lr=1.0, steps=40, milestones=[6])
    assert [by_step.rate(step, 40, 4) for step in (5, 6)] == pytest.approx([1, 0.1])
    cosine = Recipe(lr=2.0, steps=40, schedule="cosine")
    assert cosine.rate(10, 40, 4) == pytest.approx(1 + math.cos(math.pi / 4))


def test_checks_are_even_and_end_at_the_last_step():
    assert Recipe(epochs=3).checks(12) == {4, 8, 12}
    assert Recipe(epochs=100, evaluations=4).checks(10) == {2, 5, 8, 10}
    assert Recipe(steps=1000).checks(1000) == set(range(100, 1001, 100))
    assert Recipe(steps=3).checks(3) == {1, 2, 3}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(optimizer="lamb"), "x.optimizer='lamb': allowed are sgd, adam, adamw"),
        (dict(schedule="step"), "x.schedule='step'"),
        (dict(lr=0), "x.lr=0"),
        (dict(lr="fast"), "x.lr='fast'"),
        (dict(lr=True), "x.lr=True"),
        (dict(lr=float("nan")), "x.lr=nan"),
        (dict(momentum=1.0), "x.momentum=1.0"),
        (dict(weight_decay=-1), "x.weight_decay=-1"),
        (dict(batch_size=1), "x.batch_size=1"),
        (dict(epochs=2.5), "x.epochs=2.5"),
        (dict(steps=0), "x.steps=0"),
        (dict(min_steps=0), "x.min_steps=0"),
        (dict(evaluations=0), "x.evaluations=0"),
        (dict(milestones=[0]), "x.milestones"),
        (dict(milestones=60), "x.milestones=60"),
        (dict(milestones=[60], schedule="cosine"), "cosine schedule has none"),
    ],
)
def test_a_setting_out_of_range_is_named_with_its_key(settings, words):
    with pytest.raises(ValueError, match=words):
        Recipe(**settings, key="x")


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_the_optimiser_is_the_one_named(optimizer):
    built = Recipe(optimizer=optimizer, lr=0.3, weight_decay=0.2).build_optimizer([torch.ones(1)])
    assert type(built).__name__.lower() == optimizer
    assert built.param_groups[0]["lr"] == 0.3
    assert built.param_groups[0]["weight_decay"] == 0.2


def run(recipe, count=10, **options):
    """Run a recipe; return its batches and the (number, step, epoch) of its checks."""
    seen, watched = [], []
    weight = torch.zeros(1, requires_grad=True)

    def source(parts):
        for rows in parts:
            yield rows, rows

    def loss(rows, _):
        seen.append(rows.tolist())
        return weight.sum() * options.get("scale", 1.0)

    fit(
        [weight], source, loss, count=count, recipe=recipe, generator=torch.Generator().manual_seed(0),
        watch=lambda *at: watched.append(at),
    )  # fmt: skip
    return seen, watched, weight


def test_every_epoch_is_a_new_order_of_all_rows():
    seen, watched, weight = run(Recipe(epochs=3, batch_size=4, lr=0.5, momentum=0, weight_decay=0))
    assert [len(rows) for rows in seen] == [4, 4, 2] * 3
    epochs = [sum(seen[i : i + 3], []) for i in (0, 3, 6)]
    assert all(sorted(rows) == list(range(10)) for rows in epochs)
    assert epochs[0] != epochs[1]
    assert watched == [(1, 3, 1), (2, 6, 2), (3, 9, 3)]
    assert weight.item() == pytest.approx(-9 * 0.5)


def test_a_single_last_row_joins_the_batch_before_and_a_length_in_steps():
    seen, watched, _ = run(Recipe(steps=5, batch_size=4, evaluations=2), count=9)
    assert [len(rows) for rows in seen] == [4, 5, 4, 5, 4]
    assert sorted(seen[0] + seen[1]) == list(range(9))
    assert watched == [(1, 2, 1), (2, 5, 3)]
    assert [len(rows) for rows in run(Recipe(steps=2, batch_size=64))[0]] == [10, 10]


def test_epochs_are_prolonged_to_the_least_number_of_steps():
    recipe = Recipe(epochs=3, min_steps=8, batch_size=4, evaluations=4, schedule="cosine", lr=1.0)
    seen, watched, _ = run(recipe)
    assert len(seen) == 9  # three epochs of three steps
    seen, watched, _ = run(recipe, count=8)
    assert len(seen) == 8 and [step for _, step, _ in watched] == [2, 4, 6, 8]
    assert recipe.rate(4, recipe.total_steps(2), 2) == pytest.approx(0.5)
    assert recipe.length(8) == "evaluation: 8 steps, 4 epochs of 8 labelled images"
    for key, settings in dict(
        min_steps=dict(min_steps=101), epochs=dict(epochs=101), steps=dict(steps=101)
    ).items():
        line = Recipe(**{"epochs": 3, "batch_size": 8, **settings}).length(8)
        assert line.endswith(
            f"101 epochs of 8 labelled images; shorten it with --cfg-options evaluation.{key}=N"
        )
    assert recipe.settings["min_steps"] == 8 and "min_steps" not in Recipe().settings


def test_a_loss_that_is_not_finite_names_the_rate():
    with pytest.raises(ValueError, match=r"loss is nan after step 3: evaluation.lr=0.001 is too large"):
        run(Recipe(epochs=2, batch_size=4), scale=float("nan"))
