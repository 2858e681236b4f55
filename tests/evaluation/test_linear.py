from contextlib import contextmanager

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from ssl_ext.evaluation import LinearHead, ProbeData, accuracy, linear_fit, linear_probe, linear_probes
from ssl_ext.evaluation.tasks import classification_loss, prediction_error


def blobs(count, seed=0, dim=5, classes=3):
    generator = torch.Generator().manual_seed(seed)
    centres = 2 * torch.randn(classes, dim, generator=torch.Generator().manual_seed(9))
    labels = torch.randint(classes, (count,), generator=generator)
    noise = torch.randn(count, dim, generator=generator)
    return (centres[labels] + 1.5 * noise) * torch.tensor([1.0, 5, 0.2, 1, 1]) + 3, labels


def softmax(logits):
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def slow_sgd(x, y, classes, *, epochs, batch_size, lr, momentum, weight_decay, seed, drop_after):
    """Softmax regression with the gradient (p - onehot) x and PyTorch's momentum rule."""
    generator = torch.Generator().manual_seed(seed)
    bound = x.shape[1] ** -0.5
    start = torch.empty(classes, x.shape[1]).uniform_(-bound, bound, generator=generator)
    weight, bias = start.double().numpy(), np.zeros(classes)
    speed_w, speed_b = np.zeros_like(weight), np.zeros_like(bias)
    x, onehot = x.double().numpy(), np.eye(classes)[y.numpy()]
    for epoch in range(epochs):
        rate = lr if epoch < drop_after else lr / 10
        order = torch.randperm(len(x), generator=generator).numpy()
        for begin in range(0, len(x), batch_size):
            rows = order[begin : begin + batch_size]
            error = (softmax(x[rows] @ weight.T + bias) - onehot[rows]) / len(rows)
            speed_w = momentum * speed_w + error.T @ x[rows] + weight_decay * weight
            speed_b = momentum * speed_b + error.sum(0) + weight_decay * bias
            weight, bias = weight - rate * speed_w, bias - rate * speed_b
    return weight, bias


def test_sgd_equals_a_loop_by_hand():
    x, y = blobs(70)
    recipe = dict(epochs=4, batch_size=16, lr=0.01, momentum=0.9, weight_decay=0.05, seed=3)
    head = linear_probe(x, y, num_classes=3, milestones=[2], **recipe).last
    weight, bias = slow_sgd(x, y, 3, drop_after=2, **recipe)
    torch.testing.assert_close(head.weight.double(), torch.from_numpy(weight), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(head.bias.double(), torch.from_numpy(bias), rtol=1e-4, atol=1e-5)


def test_adamw_equals_torch_step_by_step():
    x, y = blobs(32)
    recipe = dict(lr=0.01, weight_decay=0.1)
    head = linear_probe(x, y, num_classes=3, solver="adamw", epochs=3, batch_size=32, **recipe).last
    layer = torch.nn.Linear(5, 3)
    bound = 5**-0.5
    generator = torch.Generator().manual_seed(0)
    layer.weight.data.uniform_(-bound, bound, generator=generator)
    layer.bias.data.zero_()
    optimizer = torch.optim.AdamW(layer.parameters(), **recipe)
    for _ in range(3):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(layer(x), y).backward()
        optimizer.step()
    torch.testing.assert_close(head.weight, layer.weight.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("solver", ["sgd", "adamw"])
def test_best_epoch_is_the_first_of_best_validation_accuracy(solver):
    (x, y), (vx, vy) = blobs(90), blobs(9, seed=5)
    recipe = dict(num_classes=3, solver=solver, lr=0.02, batch_size=30, seed=1)
    rates = [accuracy(linear_probe(x, y, epochs=e, **recipe).last.scores(vx), vy) for e in range(1, 9)]
    probe = linear_probe(x, y, epochs=8, val_features=vx, val_labels=vy, **recipe)
    assert probe.chosen["best_epoch"] == 1 + int(np.argmax(rates))
    assert probe.chosen["validation_accuracy"] == pytest.approx(max(rates))
    assert accuracy(probe.best.scores(vx), vy) == pytest.approx(max(rates))
    kept = linear_probe(x, y, epochs=8, keep_epoch=3, **recipe)
    third = linear_probe(x, y, epochs=3, **recipe).last
    assert torch.equal(kept.best.weight, third.weight)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_the_fall_of_the_training_loss_in_the_last_epoch(solver):
    """From probes of one epoch less: far from the minimum it is large, at the minimum none is left."""
    (x, y), (other, labels) = blobs(90), blobs(90, seed=4)

    def loss(epochs):
        head = linear_probe(x, y, num_classes=3, solver=solver, lr=0.003, epochs=epochs, seed=1).last
        return torch.nn.functional.cross_entropy(x @ head.weight.T + head.bias, y).item()

    settings = dict(num_classes=3, solver=solver, lr=0.003, epochs=4)
    probes = linear_probes([ProbeData(other, labels), ProbeData(x, y, seed=1)], **settings)
    fall = (loss(3) - loss(4)) / loss(3)
    assert probes[1].settings["last_epoch_fall"] == pytest.approx(fall, rel=1e-3)
    assert fall > 0.01
    done = linear_probe(x, y, num_classes=3, solver=solver, lr=0.003, epochs=600).settings
    assert abs(done["last_epoch_fall"]) < 0.01


def test_standardising_is_folded_into_the_head():
    x, y = blobs(80)
    recipe = dict(num_classes=3, epochs=3, lr=0.1, batch_size=20)
    folded = linear_probe(x, y, standardize=True, **recipe).last
    scaled = torch.from_numpy(StandardScaler().fit_transform(x.double().numpy())).float()
    direct = linear_probe(scaled, y, **recipe).last
    torch.testing.assert_close(folded.scores(x), direct.scores(scaled), rtol=1e-4, atol=1e-5)


def test_a_constant_feature_does_not_divide_by_zero():
    x, y = blobs(60)
    x[:, 2] = 7
    for solver in ("sgd", "lbfgs"):
        head = linear_probe(x, y, num_classes=3, solver=solver, standardize=True, epochs=2).last
        assert torch.isfinite(head.scores(x)).all()


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e4])
@pytest.mark.parametrize(("classes", "l2"), [(2, 1e-2), (3, 1e-4)])
def test_lbfgs_is_at_the_minimum_on_standardised_features(classes, l2, scale):
    """Against Newton's method on the standardised features: the scale of the raw ones does not matter."""
    x, y = blobs(150, classes=classes)
    scaled = StandardScaler().fit_transform(x.double().numpy())
    model = LogisticRegression(C=1 / (l2 * 150), tol=1e-10, solver="newton-cg").fit(scaled, y.numpy())
    head = linear_probe((x.double() * scale).float(), y, num_classes=classes, solver="lbfgs", l2=l2).last
    std = scale * torch.from_numpy(x.double().numpy().std(0))
    theirs = torch.from_numpy(np.concatenate([0 * model.coef_, model.coef_]) if classes == 2 else model.coef_)
    values = []
    for weight in (head.weight * std, theirs):
        bias = torch.from_numpy(model.intercept_) if weight is theirs else head.bias
        logits = (
            (x.double() * scale) @ head.weight.T + bias
            if weight is not theirs
            else torch.from_numpy(scaled) @ weight.T + (bias if classes > 2 else torch.cat([0 * bias, bias]))
        )
        values.append(torch.nn.functional.cross_entropy(logits, y) + l2 / 2 * weight.square().sum())
    assert values[0] - values[1] == pytest.approx(0, abs=1e-6)


def test_l2_is_chosen_on_validation():
    (x, y), (vx, vy) = blobs(30), blobs(200, seed=5)
    strengths = [1e-3, 1e-1, 1e3]
    rates = {
        s: accuracy(linear_probe(x, y, num_classes=3, solver="lbfgs", l2=s).last.scores(vx), vy)
        for s in strengths
    }
    probe = linear_probe(x, y, num_classes=3, solver="lbfgs", l2=strengths, val_features=vx, val_labels=vy)
    assert probe.chosen["validation_accuracy"] == rates
    assert rates[probe.chosen["l2"]] == max(rates.values())
    with pytest.raises(ValueError, match="validation"):
        linear_probe(x, y, num_classes=3, solver="lbfgs", l2=strengths)


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_classes_without_a_row_get_no_votes_and_unlabelled_rows_do_not_count(solver):
    x, y = blobs(120)
    y = y + 1  # class 0 of 4 never occurs
    recipe = dict(num_classes=4, solver=solver, epochs=60, lr=0.05, batch_size=30)
    kept = linear_probe(x, y, **recipe).last
    assert (kept.scores(x).argmax(1) != 0).all()
    with_unlabelled = linear_probe(
        torch.cat([x, 100 * torch.ones(9, 5)]), torch.cat([y, torch.full((9,), -1)]), **recipe
    ).last
    assert torch.equal(kept.weight, with_unlabelled.weight)


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_binary_and_multi_label_agree_with_one_logistic_regression_per_label(solver):
    x, y = blobs(200, classes=2)
    scaled = StandardScaler().fit_transform(x.double().numpy())
    second = (x[:, 0] > x[:, 3]).long()
    labels = torch.stack([y, second, torch.ones_like(y)], dim=1)
    recipe = dict(solver=solver, l2=1e-2, lr=0.3, epochs=300, batch_size=200, standardize=True)
    # The loss is the mean over three labels, so the effective decay of each is a third.
    many = linear_probe(
        x, labels, num_classes=3, task="multi-label", weight_decay=0.01 / 3, **recipe
    ).last.scores(x)
    single = linear_probe(x, y, num_classes=2, task="binary", weight_decay=0.01, **recipe).last.scores(x)
    assert many.shape == (200, 3)
    assert single.shape == (200, 1)
    # SGD also decays the bias: a penalised weight of a constant feature.
    data = np.column_stack([scaled, np.ones(200)]) if solver == "sgd" else scaled
    for ours, target in ((many[:, 0], y), (many[:, 1], second), (single[:, 0], y)):
        model = LogisticRegression(C=1 / (1e-2 * 200), tol=1e-8, fit_intercept=solver == "lbfgs")
        theirs = torch.from_numpy(model.fit(data, target.numpy()).predict_proba(data)[:, 1])
        torch.testing.assert_close(ours.double(), theirs, rtol=0, atol=1e-3)
    assert (many[:, 2] > 0.9).all()


@pytest.mark.parametrize("task", ["multi-class", "binary", "multi-label"])
@pytest.mark.parametrize("solver", ["sgd", "adamw", "lbfgs"])
def test_probes_together_equal_one_by_one(solver, task):
    def draw(count, seed):
        x, y = blobs(count, seed, classes=2 if task == "binary" else 3)
        return x, torch.stack([y > 0, y > 1, y < 1], 1).long() if task == "multi-label" else y

    (x, y), (vx, vy), (other, labels) = draw(50, 0), draw(40, 5), draw(50, 7)
    data = [
        ProbeData(x, y, vx, vy, seed=0),
        ProbeData(x, y, vx, vy, seed=1),
        ProbeData(other, labels, vx, vy, seed=0),
        ProbeData(x[:30], y[:30], vx, vy),
        ProbeData(x, y, seed=2, keep_epoch=2),
        ProbeData(x, y, seed=3),
    ]
    settings = dict(num_classes=3, task=task, solver=solver, l2=0.1, epochs=4, batch_size=16, lr=0.05)
    for standardize in (False, True):
        together = linear_probes(data, standardize=standardize, **settings)
        for one, probe in zip(data, together, strict=True):
            alone = linear_probe(
                one.features, one.labels, val_features=one.val_features, val_labels=one.val_labels,
                seed=one.seed, keep_epoch=one.keep_epoch, standardize=standardize, **settings,
            )  # fmt: skip
            assert probe.chosen == alone.chosen
            fall = alone.settings.pop("last_epoch_fall", 0.0)
            assert probe.settings.pop("last_epoch_fall", 0.0) == pytest.approx(fall, abs=1e-5)
            assert probe.settings == alone.settings
            for ours, theirs in ((probe.last, alone.last), (probe.best, alone.best)):
                torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-5, atol=1e-6)
                torch.testing.assert_close(ours.bias, theirs.bias, rtol=1e-5, atol=1e-6)


class Replays:
    """A CUDA graph on the CPU: records the steps instead of doing them, then does them at every replay."""

    step = linear_fit._Steps._step

    def __init__(self):
        self.steps = []

    def replay(self):
        for arguments in self.steps:
            Replays.step(*arguments)

    @staticmethod
    @contextmanager
    def capture(graph):
        linear_fit._Steps._step = lambda *arguments: graph.steps.append(arguments)
        yield
        linear_fit._Steps._step = Replays.step


@pytest.mark.parametrize("rows", [64, 78, 10])
@pytest.mark.parametrize("most", [2, 3, 256])
@pytest.mark.parametrize("solver", ["sgd", "adamw"])
def test_blocks_of_steps_are_the_steps_one_by_one(rows, most, solver, monkeypatch):
    (x, y), (vx, vy) = blobs(rows), blobs(40, seed=5)
    data = [ProbeData(x, y, vx, vy, seed=0), ProbeData(x + 1, y, vx, vy, seed=1)]
    settings = dict(num_classes=3, solver=solver, epochs=5, batch_size=8, lr=0.05, schedule="cosine")
    expected = linear_probes(data, **settings)
    monkeypatch.setattr(linear_fit, "GRAPH_STEPS", most)
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    monkeypatch.setattr(torch.Tensor, "is_cpu", False)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Replays)
    monkeypatch.setattr(torch.cuda, "graph", Replays.capture)
    for ours, theirs in zip(linear_probes(data, **settings), expected, strict=True):
        assert ours.chosen == theirs.chosen
        torch.testing.assert_close(ours.last.weight, theirs.last.weight, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours.best.bias, theirs.best.bias, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("task", ["multi-class", "binary", "multi-label"])
def test_prediction_error_is_the_gradient_of_the_loss(task):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 1 if task == "binary" else 3, generator=generator).double().requires_grad_()
    size = (6, 3) if task == "multi-label" else (6,)
    labels = torch.randint(3 if task == "multi-class" else 2, size, generator=generator)
    (gradient,) = torch.autograd.grad(classification_loss(logits, labels, task), logits)
    terms = labels.numel()
    torch.testing.assert_close(prediction_error(logits.detach(), labels, task) / terms, gradient)


def test_a_rate_that_is_too_large_is_named():
    x, y = blobs(20)
    with pytest.raises(ValueError, match=r"after step 3: evaluation.linear.lr=1e\+30 is too large"):
        linear_probe(x * 1e8, y, num_classes=3, lr=1e30, batch_size=8, epochs=3)


def test_bad_settings_name_their_key():
    x, y = blobs(10)
    for settings, words in (
        (dict(solver="svm"), "linear.solver='svm'"),
        (dict(task="regression"), "task='regression'"),
        (dict(epochs=0), "epochs=0"),
        (dict(solver="lbfgs", l2=-1.0), "l2=-1"),
    ):
        with pytest.raises(ValueError, match=words):
            linear_probe(x, y, num_classes=3, **settings)
    with pytest.raises(ValueError, match="no training row"):
        linear_probe(x, torch.full_like(y, -1), num_classes=3)


def test_head_scores_are_probabilities():
    head = LinearHead(torch.tensor([[1.0, 0], [0, 1.0]]), torch.zeros(2), "multi-class")
    torch.testing.assert_close(head.scores(torch.tensor([[0.0, np.log(3)]])), torch.tensor([[0.25, 0.75]]))
