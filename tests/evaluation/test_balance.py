"""Class weights, balanced sampling and undersampling, against scikit-learn, PyTorch and closed forms."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from digit_files import save_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_class_weight

from ssl_ext.apis import evaluate
from ssl_ext.apis.report import compare, long_grid
from ssl_ext.apis.report.rows import find_results, named_rows
from ssl_ext.errors import UserError
from ssl_ext.evaluation import Balance, Weighting, linear_probe, results_table
from ssl_ext.evaluation.balance import epoch_order, normalized, row_weights
from ssl_ext.evaluation.tasks import classification_loss, prediction_error

WEIGHTS = Balance("weights")


def unequal(task, count=60, seed=0):
    generator = torch.Generator().manual_seed(seed)
    chances = torch.tensor([0.7, 0.2, 0.1])
    labels = torch.multinomial(chances, count, replacement=True, generator=generator)
    x = torch.randn(count, 4, generator=generator) + labels[:, None] * torch.tensor([1.0, 0.5, 0, 0])
    if task == "binary":
        labels = (labels > 0).long()
    if task == "multi-label":
        labels = torch.stack([labels > 0, labels > 1, x[:, 3] + x.roll(1, 0)[:, 2] > 1.2], 1).long()
    return x, labels


def test_class_weights_are_scikit_learns_and_given_ones_keep_their_ratios():
    _, y = unequal("multi-class")
    expected = compute_class_weight("balanced", classes=np.arange(3), y=y.numpy())
    torch.testing.assert_close(
        normalized(y, 3, "multi-class").double(), torch.tensor(expected), rtol=1e-6, atol=0
    )
    given = normalized(y, 3, "multi-class", (1.0, 2.0, 8.0))
    torch.testing.assert_close(given / given[0], torch.tensor([1.0, 2.0, 8.0]))
    assert row_weights(y, given).mean().item() == pytest.approx(1)
    _, several = unequal("multi-label")
    weights = row_weights(several, normalized(several, 3, "multi-label"))
    for label in range(3):
        one = several[:, label].numpy()
        expected = compute_class_weight("balanced", classes=np.arange(2), y=one)[one]
        np.testing.assert_allclose(weights[:, label], expected, rtol=1e-6)
    # A class that a draw lacks has no weight, and changes no other.
    assert normalized(torch.tensor([0, 2, 2]), 3, "multi-class").tolist() == [1.5, 0.0, 0.75]


@pytest.mark.parametrize("task", ["multi-class", "binary", "multi-label"])
def test_the_weighted_loss_and_its_gradient(task):
    x, y = unequal(task)
    table = normalized(y, 2 if task == "binary" else 3, task)
    weights = row_weights(y, table)
    logits = torch.randn(60, 1 if task == "binary" else 3, requires_grad=True)
    loss = classification_loss(logits, y, task, weights)
    if task == "multi-class":  # PyTorch divides by the sum of the weights, which is the number of rows
        torch.testing.assert_close(loss, F.cross_entropy(logits, y, weight=table))
    else:
        each = F.binary_cross_entropy_with_logits(logits, y.view_as(logits).float(), reduction="none")
        torch.testing.assert_close(loss, (each * weights.view_as(logits)).mean())
    loss.backward()
    labels = 3 if task == "multi-label" else 1
    error = prediction_error(logits.detach(), y, task, weights) / (60 * labels)
    torch.testing.assert_close(logits.grad, error)


@pytest.mark.parametrize("task", ["multi-class", "binary", "multi-label"])
@pytest.mark.parametrize("given", [(), (1.0, 3.0, 9.0)])
def test_a_converged_weighted_probe_is_scikit_learns(task, given):
    x, y = unequal(task)
    classes = 2 if task == "binary" else 3
    given = given[:classes]
    balance = Balance("weights", given)
    head = linear_probe(x, y, num_classes=classes, task=task, solver="lbfgs", l2=1e-2, balance=balance).last
    scaled = StandardScaler().fit_transform(x.double().numpy())
    columns = y.T if task == "multi-label" else y[None]
    found = []
    for index, labels in enumerate(columns):
        weight = "balanced"
        if given:
            weight = {0: 1.0, 1: given[index]} if task == "multi-label" else dict(enumerate(given))
        one = labels.numpy()
        sample = np.array(
            [compute_class_weight(weight, classes=np.unique(one), y=one)[label] for label in one]
        )
        model = LogisticRegression(C=1 / (1e-2 * 60), tol=1e-10, max_iter=5000)
        model.fit(scaled, one, sample_weight=sample / sample.mean())
        found.append(model.predict_proba(scaled)[:, None if task == "multi-class" else slice(1, 2)])
    expected = found[0].squeeze() if task == "multi-class" else np.concatenate(found, 1)
    np.testing.assert_allclose(head.scores(x).numpy(), expected, atol=1e-4)
    if not given and task != "multi-label":  # the expectation of balanced sampling
        sampled = linear_probe(
            x, y, num_classes=classes, task=task, solver="lbfgs", l2=1e-2, balance=Balance("sampling")
        ).last
        assert torch.equal(sampled.weight, head.weight)


@pytest.mark.parametrize("task", ["multi-class", "binary", "multi-label"])
def test_steps_with_weights_reach_the_converged_probe(task):
    x, y = unequal(task)
    settings = dict(num_classes=2 if task == "binary" else 3, task=task, balance=WEIGHTS)
    converged = linear_probe(x, y, solver="lbfgs", l2=0.0 if task == "multi-class" else 1e-6, **settings).last
    steps = linear_probe(
        x,
        y,
        solver="adam",
        lr=0.05,
        epochs=600,
        batch_size=60,
        weight_decay=0.0,
        standardize=True,
        **settings,
    )
    assert steps.settings["class_weights"] == pytest.approx(
        normalized(y, settings["num_classes"], task).flatten().tolist(), abs=1e-5
    )
    torch.testing.assert_close(steps.last.scores(x), converged.scores(x).float(), atol=0.03, rtol=0)


def test_epochs_of_balanced_sampling_have_all_classes_equally_often():
    _, y = unequal("multi-class", 3000)
    chances = Weighting(Balance("sampling"), 3, "multi-class").chances(y)
    order = epoch_order(3000, chances, torch.Generator().manual_seed(1))
    assert len(order) == 3000 and abs(torch.bincount(y[order]) / 3000 - 1 / 3).max() < 0.03
    plain = epoch_order(5, None, torch.Generator().manual_seed(1))
    assert plain.tolist() == torch.randperm(5, generator=torch.Generator().manual_seed(1)).tolist()


@pytest.mark.parametrize("task", ["multi-class", "multi-label"])
def test_epochs_are_selected_by_the_balanced_accuracy(task):
    (x, y), (vx, vy) = unequal(task), unequal(task, seed=5)
    weighting = Weighting(WEIGHTS, 3, task)
    recipe = dict(num_classes=3, task=task, solver="sgd", lr=0.1, batch_size=20, balance=WEIGHTS)

    def rate(head):
        scores = head.scores(vx)
        if task == "multi-class":
            return balanced_accuracy_score(vy, scores.argmax(1))
        return np.mean([balanced_accuracy_score(vy[:, c], scores[:, c] > 0.5) for c in range(3)])

    rates = [rate(linear_probe(x, y, epochs=epoch, **recipe).last) for epoch in range(1, 6)]
    probe = linear_probe(x, y, epochs=5, val_features=vx, val_labels=vy, **recipe)
    assert probe.chosen["best_epoch"] == 1 + int(np.argmax(rates))
    assert probe.chosen["validation_accuracy"] == pytest.approx(max(rates), abs=1e-6)
    assert weighting.accuracy(probe.best.scores(vx), vy) == pytest.approx(max(rates), abs=1e-6)


@pytest.fixture
def unequal_config(tiny_config, tmp_path):
    """Digits of which the first class has nine tenths of the training images."""
    settings = save_digits(tmp_path / "digits.npz", dict(train=400, val=60, test=60))
    with np.load(tmp_path / "digits.npz") as content:
        arrays = dict(content)
    for split in ("train", "val", "test"):
        arrays[f"y_{split}"] = np.minimum(arrays[f"y_{split}"], 2)
    rare = np.flatnonzero(arrays["y_train"] < 2)[:30]
    rows = np.sort(np.concatenate([rare, np.flatnonzero(arrays["y_train"] == 2)[:70]]))
    arrays |= {"x_train": arrays["x_train"][rows], "y_train": arrays["y_train"][rows]}
    np.savez(tmp_path / "digits.npz", **arrays)
    tiny_config.evaluation_dataset = settings
    short = dict(steps=4, batch_size=16, lr=1e-2, evaluations=2)
    tiny_config.evaluation.update(
        linear=dict(solver="adam", epochs=3, lr=0.01),
        finetune=dict(short, augment=None), linear_aug=dict(epochs=2, augment=[], milestones=[]),
    )  # fmt: skip
    return tiny_config


def test_every_protocol_takes_the_balance_and_no_table_mixes_it(unequal_config, tmp_path):
    out = tmp_path / "out"
    settings = dict(
        protocols=["knn", "linear", "linear-aug", "supervised", "budget"], budgets=[40], draws=1, out_dir=out,
        device="cpu",
    )  # fmt: skip
    plain = {row.protocol: row for row in evaluate(unequal_config, None, **settings)}
    rows = {}
    for balance in ("weights", "sampling", "undersampling", [1, 1, 0.2]):
        if isinstance(balance, list):
            settings.update(protocols=["linear"], budgets=())
        rows[str(balance)] = found = evaluate(unequal_config, None, balance=balance, **settings)
        for row in found:
            without = plain[row.protocol]
            if row.protocol == "knn":
                assert row.balance is None and row.last == without.last
            else:
                assert row.balance == Balance.of(balance).words
                assert row.settings.get("class_weights") or balance in ("sampling", "undersampling")
                assert row.last != without.last or row.best != without.best, (balance, row.protocol)
    under = [row for row in rows["undersampling"] if row.balance]
    for row in under:
        counts = row.settings["labels"]["class_counts"]
        assert len(set(counts)) == 1 and row.sizes["train"] == sum(counts) > 0
    assert under[0].settings["labels"]["rows"] == "undersampled_seed-0"
    assert max(under[0].settings["labels"]["class_counts"]) < 30
    # Both files and tables keep them apart.
    stored = json.loads((out / "results.json").read_text())
    assert len(stored) == 6 + 3 * 5 + 1  # the budget has a supervised row too
    names = {
        text
        for row in long_grid(compare(named_rows(find_results([out]))), ["acc"], title="").rows
        for text in row
    }
    for words in ("class weights", "balanced sampling", "undersampled", "class weights 1:1:0.2"):
        assert f"linear, all labels, custom, {words}" in names
    text = str(results_table(rows["weights"]).columns[0].header) + str(
        [
            cell
            for column in results_table([*plain.values(), *rows["weights"]]).columns
            for cell in column._cells
        ]
    )
    assert "class weights" in text


@pytest.mark.parametrize(
    ("balance", "words"),
    [
        ("even", "evaluation.balance='even': weights, sampling, undersampling, or a number above 0 for each"),
        ([1, -2], "a number above 0 for each class is needed"),
        ([1, 2], "evaluation_dataset.*2 weights for 3 classes"),
    ],
)
def test_a_bad_balance_is_one_sentence(balance, words, unequal_config):
    with pytest.raises(UserError, match=words):
        evaluate(unequal_config, None, protocols=["linear"], balance=balance, device="cpu")


def test_several_labels_have_no_sampling():
    with pytest.raises(ValueError, match="needs one class per image; use 'weights'"):
        Balance("sampling").check(3, "multi-label")
