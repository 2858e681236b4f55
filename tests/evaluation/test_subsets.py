import numpy as np
import pytest
import torch

from ssl_ext.evaluation import (
    fraction_subset,
    hold_out,
    labels_per_class_subset,
    random_subset,
    short_classes,
)

LABELS = torch.tensor([0] * 50 + [1] * 30 + [2] * 3 + [-1] * 20)[
    torch.randperm(103, generator=torch.Generator().manual_seed(0))
]


def test_n_of_every_class_and_no_unlabelled_row():
    rows = labels_per_class_subset(LABELS, 10, seed=0)
    assert torch.bincount(LABELS[rows]).tolist() == [10, 10, 3]
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert short_classes(LABELS, 10) == {2: 3}
    assert short_classes(LABELS, 3) == {}


DRAWS = [
    lambda size, seed: random_subset(LABELS, size, seed=seed),
    lambda size, seed: fraction_subset(LABELS, size / 83, seed=seed),
]


@pytest.mark.parametrize("draw", DRAWS)
def test_random_and_fraction_subsets_are_seeded_nested_and_labelled(draw):
    rows = draw(20, 1)
    assert torch.equal(rows, draw(20, 1))
    assert not torch.equal(rows, draw(20, 2))
    assert set(rows.tolist()) <= set(draw(40, 1).tolist())
    assert (LABELS[rows] >= 0).all()
    assert torch.equal(draw(83, 1), (LABELS >= 0).nonzero()[:, 0])


def test_a_fraction_is_of_every_class_and_takes_one_at_least():
    for fraction, counts in ((0.01, [1, 1, 1]), (0.1, [5, 3, 1]), (0.5, [25, 15, 2])):
        assert torch.bincount(LABELS[fraction_subset(LABELS, fraction, seed=0)]).tolist() == counts
    multi = torch.stack([LABELS.clamp(-1, 1)] * 2, dim=1)
    assert len(fraction_subset(multi, 0.25, seed=0)) == 21


def test_a_budget_gives_every_class_its_share_and_a_row_before_another_has_two():
    labels = torch.tensor([0] * 899 + [1] * 100 + [2])
    for size, counts in ((3, [1, 1, 1]), (100, [89, 10, 1]), (500, [449, 50, 1]), (5000, [899, 100, 1])):
        for seed in range(3):
            assert torch.bincount(labels[random_subset(labels, size, seed=seed)]).tolist() == counts
    counts = torch.zeros(1000)
    for seed in range(1000):
        counts[random_subset(labels, 100, seed=seed)] += 1
    # Class 0: 99 expected, standard deviation 9.4; 1,000 rows.
    assert (counts[:899] - 99).abs().max() < 5 * 9.4
    # As many classes as labels: which of them have one is drawn.
    assert {random_subset(torch.arange(4), 1, seed=seed).item() for seed in range(30)} == {0, 1, 2, 3}
    multi = torch.stack([LABELS.clamp(-1, 1)] * 2, dim=1)
    assert len(random_subset(multi, 21, seed=0)) == 21


def test_draws_are_the_same_on_every_machine():
    labels = torch.arange(20) % 2
    assert labels_per_class_subset(labels, 2, seed=3).tolist() == [3, 9, 12, 18]
    assert random_subset(labels, 4, seed=3).tolist() == [3, 9, 12, 18]
    assert fraction_subset(labels, 0.2, seed=3).tolist() == [3, 9, 12, 18]


def test_the_seed_decides_and_larger_subsets_contain_smaller():
    first = labels_per_class_subset(LABELS, 5, seed=1)
    assert torch.equal(first, labels_per_class_subset(LABELS.clone(), 5, seed=1))
    assert not torch.equal(first, labels_per_class_subset(LABELS, 5, seed=2))
    assert set(first.tolist()) <= set(labels_per_class_subset(LABELS, 20, seed=1).tolist())


def test_every_row_is_drawn_equally_often():
    labels = torch.zeros(10, dtype=torch.int64)
    counts = torch.zeros(10)
    for seed in range(2000):
        counts[labels_per_class_subset(labels, 3, seed=seed)] += 1
    # 600 expected, standard deviation 20.5
    assert (counts - 600).abs().max() < 5 * 20.5


def test_multi_label_rows_are_positive_for_their_label():
    labels = torch.tensor([[1, 0], [0, 1], [1, 1], [0, 0], [-1, -1]] * 8)
    rows = labels_per_class_subset(labels, 4, seed=0)
    assert (labels[rows] == 1).any(dim=1).all()
    assert (labels[rows] == 1).sum(dim=0).ge(4).all()
    assert len(rows) <= 8


def test_hold_out_is_stratified_disjoint_and_complete():
    fit, held = hold_out(LABELS, seed=0)
    assert torch.bincount(LABELS[held]).tolist() == [5, 3, 1]
    assert not set(fit.tolist()) & set(held.tolist())
    assert torch.equal(torch.cat([fit, held]).sort().values, (LABELS >= 0).nonzero()[:, 0])
    assert torch.equal(held, hold_out(LABELS, seed=0)[1])
    assert not torch.equal(held, hold_out(LABELS, seed=1)[1])


def test_hold_out_keeps_to_the_maximum():
    labels = torch.arange(2000) % 4
    assert len(hold_out(labels, seed=0, maximum=40)[1]) == 40
    multi = torch.stack([labels % 2, labels // 2], dim=1)
    assert len(hold_out(multi, seed=0, maximum=40)[1]) == 40


def test_errors():
    with pytest.raises(ValueError, match="labels_per_class=0"):
        labels_per_class_subset(LABELS, 0, seed=0)
    with pytest.raises(ValueError, match="budgets=0"):
        random_subset(LABELS, 0, seed=0)
    with pytest.raises(ValueError, match="fractions=1.5"):
        fraction_subset(LABELS, 1.5, seed=0)
    unlabelled = torch.full((4,), -1)
    with pytest.raises(ValueError, match="all labels are negative"):
        random_subset(unlabelled, 1, seed=0)
    with pytest.raises(ValueError, match="all labels are negative"):
        labels_per_class_subset(unlabelled, 1, seed=0)
    with pytest.raises(ValueError, match="nothing can be held out"):
        hold_out(torch.tensor([0, 1, -1, -1]), seed=0)
    with pytest.raises(ValueError, match="fraction=1"):
        hold_out(LABELS, seed=0, fraction=1)


GROUPED = torch.arange(120) % 4
PATIENTS = np.array([f"p{row // 3}" for row in range(120)])  # three images of up to three classes each


def patients(rows):
    return set(PATIENTS[rows.numpy()])


def test_hold_out_never_splits_a_group_and_keeps_all_rows():
    for seed in range(20):
        labels = torch.where(
            torch.rand(120, generator=torch.Generator().manual_seed(seed)) < 0.1, -1, GROUPED
        )
        fit, held = hold_out(labels, seed=seed, fraction=0.2, groups=PATIENTS)
        assert not patients(fit) & patients(held) and 5 <= len(patients(held)) <= 8
        assert sorted([*fit.tolist(), *held.tolist()]) == (labels >= 0).nonzero()[:, 0].tolist()
    assert patients(hold_out(GROUPED, seed=0)[0]) & patients(hold_out(GROUPED, seed=0)[1])  # rows alone do


@pytest.mark.parametrize(
    ("draw", "count"),
    [
        (lambda seed: random_subset(GROUPED, 7, seed=seed, groups=PATIENTS), 7),
        (lambda seed: fraction_subset(GROUPED, 0.25, seed=seed, groups=PATIENTS), 10),
        (lambda seed: labels_per_class_subset(GROUPED[:60] // 2, 4, seed=seed, groups=PATIENTS[:60]), None),
    ],
)
def test_draws_by_group_take_whole_groups(draw, count):
    drawn = [draw(seed) for seed in range(5)]
    for rows in drawn:
        assert len(rows) == 3 * len(patients(rows)) and (count is None or len(patients(rows)) == count)
    assert len({tuple(rows.tolist()) for rows in drawn}) == 5


def test_a_number_per_class_counts_groups_that_have_the_class():
    labels, names = torch.tensor([0, 0, 0, 1, 1, 0]), np.array(list("aabbcd"))
    assert labels_per_class_subset(labels, 9, seed=0, groups=names).tolist() == list(range(6))
    assert short_classes(labels, 3, groups=names) == {1: 2}
    assert short_classes(labels, 3) == {1: 2} and short_classes(labels, 4, groups=names) == {0: 3, 1: 2}


def test_a_group_counts_for_its_least_frequent_class():
    """Ten patients with both classes and ten with class 0: a tenth of each kind is one of each kind."""
    labels = torch.tensor([0, 0, 1] * 10 + [0, 0, 0] * 10)
    names = np.repeat(np.arange(20), 3)
    for seed in range(10):
        held = set(names[hold_out(labels, seed=seed, groups=names)[1].numpy()])
        assert len(held) == 2 and min(held) < 10 <= max(held)
    with pytest.raises(ValueError, match="no class has two labelled groups"):
        hold_out(labels[25:31], seed=0, groups=np.array(list("aaaaab")))
    with pytest.raises(ValueError, match="3 groups were given for 60 labels"):
        random_subset(labels, 1, seed=0, groups=names[:3])
