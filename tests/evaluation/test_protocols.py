import pytest
import torch

from ssl_ext.evaluation import (
    Banks,
    FeatureBank,
    knn_classify,
    knn_protocol,
    linear_probe,
    linear_protocol,
    linear_protocols,
    top1,
)

TASK = dict(num_classes=3, task="multi-class")


def bank(count, seed):
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(3, 4, generator=torch.Generator().manual_seed(9))
    labels = torch.arange(count) % 3
    return FeatureBank(centres[labels] + torch.randn(count, 4, generator=generator), labels)


def join(first, second):
    return FeatureBank(torch.cat([first.features, second.features]), torch.cat([first.labels, second.labels]))


BANKS = Banks(bank(60, 0), bank(30, 1), bank(90, 2))
HELD_OUT = Banks(BANKS.fit, BANKS.val, BANKS.test, join(BANKS.fit, BANKS.val))
PROTOCOLS = [
    lambda banks: knn_protocol(banks, **TASK, k=[1, 3, 9, 27]),
    lambda banks: linear_protocol(banks, **TASK, seed=0, recipe=dict(solver="lbfgs", l2=[1e-4, 1e-1, 10.0])),
    lambda banks: linear_protocol(banks, **TASK, seed=0, recipe=dict(epochs=6, lr=0.1)),
]


@pytest.mark.parametrize("run", PROTOCOLS)
@pytest.mark.parametrize("banks", [BANKS, HELD_OUT])
def test_no_choice_depends_on_the_test_labels(run, banks):
    shuffled = FeatureBank(banks.test.features, (banks.test.labels + 1) % 3)
    other = run(Banks(banks.fit, banks.val, shuffled, banks.final))
    plain = run(banks)
    assert other.settings == plain.settings
    assert other.last["acc"] < plain.last["acc"]
    assert plain.settings["chosen_on_validation"]


@pytest.mark.parametrize("banks", [BANKS, HELD_OUT])
def test_knn_reports_the_final_bank_with_the_chosen_k(banks):
    outcome = knn_protocol(banks, **TASK, k=[1, 3, 9, 1000])
    memory = banks.final or banks.fit
    scores = knn_classify(
        banks.test.features, memory.features, memory.labels, num_classes=3, k=outcome.settings["k"]
    )
    assert outcome.last["acc"] == outcome.best["acc"] == top1(scores, banks.test.labels)
    assert outcome.settings["bank_includes_validation"] == (banks.final is not None)
    assert banks.sizes == {"train": len(memory), "val": 30, "test": 90}


def test_a_held_out_row_is_a_neighbour_of_the_test_rows():
    near = FeatureBank(torch.tensor([[0.6, 0.8]]), torch.tensor([0]))
    fit = FeatureBank(torch.eye(2), torch.tensor([0, 1]))
    for final, right in ((None, 0), (join(fit, near), 1)):
        banks = Banks(fit, near, near, final)
        assert knn_protocol(banks, num_classes=2, task="multi-class", k=1).last["acc"] == right


def test_a_fixed_k_asks_nothing_of_validation():
    settings = knn_protocol(BANKS, **TASK, k=1000).settings
    assert settings["k"] == 1000
    assert settings["k_used"] == 60
    assert "chosen_on_validation" not in settings


def test_the_linear_probe_is_refitted_with_the_held_out_rows():
    recipe = dict(epochs=6, lr=0.1, batch_size=16)
    outcome = linear_protocol(HELD_OUT, **TASK, seed=0, recipe=recipe)
    best_epoch = outcome.settings["chosen_on_validation"]["best_epoch"]
    final, test = HELD_OUT.final, HELD_OUT.test
    for metrics, epochs in ((outcome.last, 6), (outcome.best, best_epoch)):
        head = linear_probe(final.features, final.labels, num_classes=3, keep_epoch=epochs, **recipe).best
        assert metrics["acc"] == top1(head.scores(test.features), test.labels)
    assert outcome.settings["fit_includes_validation"]
    assert not linear_protocol(BANKS, **TASK, seed=0, recipe=recipe).settings["fit_includes_validation"]


@pytest.mark.parametrize("recipe", [dict(epochs=5, lr=0.1), dict(solver="lbfgs", l2=[1e-4, 10.0])])
def test_linear_protocols_together_equal_one_by_one(recipe):
    other = Banks(bank(60, 4), bank(30, 1), BANKS.test, bank(90, 4))
    banks, seeds = [BANKS, HELD_OUT, other, HELD_OUT], [0, 0, 1, 2]
    together = linear_protocols(banks, **TASK, seeds=seeds, recipe=recipe)
    for one, seed, outcome in zip(banks, seeds, together, strict=True):
        alone = linear_protocol(one, **TASK, seed=seed, recipe=recipe)
        falls = [one.settings.pop("last_epoch_fall", 0.0) for one in (outcome, alone)]
        assert falls[0] == pytest.approx(falls[1], abs=1e-5)
        assert outcome.settings == alone.settings
        assert outcome.last["acc"] == alone.last["acc"] and outcome.best["acc"] == alone.best["acc"]
