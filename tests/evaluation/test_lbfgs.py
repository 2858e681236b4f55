"""Both solvers, of the CPU and of a GPU, against scikit-learn's Newton method and their own objective."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from ssl_ext.evaluation import lbfgs, logistic_regression
from ssl_ext.evaluation.logistic_regression import fit_logistic_regressions, solve_logistic_regressions

STRENGTHS = [1e-3, 1e-1]


def correlated(rows, width, classes, seed=0, scale=1.0, flipped=0.3):
    """Features of a wide spectrum, far from 0, and labels of which a share is drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(classes, (rows,), generator=generator)
    x = torch.randn(rows, width, generator=generator).double()
    x += torch.randn(classes, width, generator=generator).double()[y]
    mixing = torch.randn(width, width, generator=generator).double() * torch.logspace(0, -2, width).double()
    y[torch.rand(rows, generator=generator) < flipped] = 1
    y[:classes] = torch.arange(classes)
    return scale * (x @ mixing + 3), y


@pytest.fixture(params=["in turn", "together"])
def solver(request, monkeypatch):
    """The CPU's solver, and that of a GPU in its place."""
    if request.param == "together":
        monkeypatch.setattr(logistic_regression, "minimize_in_turn", lbfgs.minimize_together)


def objective_and_gradient(weight, bias, x, y, l2):
    weight, bias = weight.clone().requires_grad_(), bias.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(x @ weight.T + bias, y) + l2 / 2 * weight.square().sum()
    largest = max(g.abs().max().item() for g in torch.autograd.grad(loss, [weight, bias]))
    return loss.item(), largest


@pytest.mark.parametrize(
    ("rows", "width", "classes", "scale"),
    [(200, 12, 4, 1.0), (200, 12, 4, 1e-3), (200, 12, 4, 1e3), (20, 40, 3, 1.0), (220, 4, 100, 1.0)],
    ids=["correlated", "small", "large", "fewer rows than features", "100 classes"],
)
def test_solutions_are_those_of_newton_s_method(rows, width, classes, scale, solver):
    problems = [correlated(rows, width, classes, seed, scale) for seed in range(2)]
    x, y = (torch.stack(part) for part in zip(*problems, strict=True))
    strengths = torch.tensor(STRENGTHS, dtype=torch.float64) * scale**2
    weight, bias = solve_logistic_regressions(x, y, strengths, num_classes=classes, task="multi-class")
    for i, (own_x, own_y) in enumerate(problems):
        for k, l2 in enumerate(strengths.tolist()):
            value, largest = objective_and_gradient(weight[i, k], bias[i, k], own_x, own_y, l2)
            # Newton's method on features of scale 1, where it converges, with the strength that fits.
            model = LogisticRegression(C=scale**2 / (l2 * rows), solver="newton-cg", tol=1e-10)
            model.fit(own_x.numpy() / scale, own_y.numpy())
            theirs = torch.from_numpy(model.coef_) / scale, torch.from_numpy(model.intercept_)
            best, _ = objective_and_gradient(*theirs, own_x, own_y, l2)
            assert abs(value - best) <= 1e-6
            assert largest < 1e-4


def test_gradients_vanish_whatever_the_ratio_of_scale_and_strength(solver):
    """Large features with a small strength, where weights hardly cost anything."""
    x, y = correlated(300, 8, 3, scale=1e3)
    weight, bias = solve_logistic_regressions(
        x[None], y[None], torch.tensor([0.0, 1e-4, 1.0]).double(), num_classes=3, task="multi-class"
    )
    for k, l2 in enumerate((0.0, 1e-4, 1.0)):
        assert objective_and_gradient(weight[0, k], bias[0, k], x, y, l2)[1] < 1e-4


def scikit_learns(x, y, task, l2):
    """Probabilities of a logistic regression for each label, or of one for all classes that occur."""
    x, y = x.numpy(), y.numpy()
    model = LogisticRegression(C=1 / (l2 * len(x)), tol=1e-10, solver="newton-cg")
    if task == "multi-class":
        found = np.zeros((len(x), 4))
        present = np.unique(y)
        found[:, present] = model.fit(x, y).predict_proba(x) if len(present) > 1 else 1
        return torch.from_numpy(found)
    columns = [y] if task == "binary" else y.T
    ones = [
        model.fit(x, column).predict_proba(x)[:, 1] if 0 < column.sum() < len(x) else column
        for column in columns
    ]
    return torch.from_numpy(np.stack(ones, 1).astype(float))


@pytest.mark.parametrize("task", ["multi-class", "binary", "multi-label"])
def test_all_tasks_equal_scikit_learn(task, solver, monkeypatch):
    """Two classes, absent ones, columns of equal labels; in parts of one regression each and at once."""
    problems = [correlated(60, 5, 4, seed) for seed in range(3)]
    x, y = (torch.stack(part) for part in zip(*problems, strict=True))
    if task == "binary":
        y = (y > 1).long()
    elif task == "multi-label":
        y = torch.stack([y > 0, y > 1, y > 2, y > 9], 2).long()
        y[1, :, 3] = 1
    else:
        y[1] = torch.where(y[1] > 1, 3, 1)  # two classes of four
        y[2] = y[2].clamp_min(1)
        y = torch.cat([y, torch.full((1, 60), 2)])
        x = torch.cat([x, x[:1]])
    settings = dict(num_classes=4, task=task, strengths=STRENGTHS)
    together = fit_logistic_regressions(list(x), list(y), **settings)
    monkeypatch.setattr(logistic_regression, "LOGITS", 1)
    alone = fit_logistic_regressions(list(x), list(y), **settings)
    for i, heads in enumerate(together):
        for l2, head in heads.items():
            expected = scikit_learns(x[i], y[i], task, l2)
            torch.testing.assert_close(head.scores(x[i]), expected, rtol=0, atol=1e-4)
            torch.testing.assert_close(alone[i][l2].scores(x[i]), expected, rtol=0, atol=1e-4)


def test_the_host_looks_at_results_only_now_and_then(monkeypatch):
    monkeypatch.setattr(logistic_regression, "minimize_in_turn", lbfgs.minimize_together)
    looks = []
    monkeypatch.setattr(
        torch.Tensor, "__bool__", lambda t, old=torch.Tensor.__bool__: looks.append(1) or old(t)
    )
    monkeypatch.setattr(torch.Tensor, "item", lambda t: pytest.fail("a host read"))
    x, y = correlated(100, 6, 3)
    solve_logistic_regressions(
        x[None], y[None], torch.tensor([1e-3]).double(), num_classes=3, task="multi-class"
    )
    assert 1 <= len(looks) <= 10


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("task", ["multi-class", "binary"])
def test_a_gpu_gives_the_solutions_of_the_cpu_and_seldom_waits(task, monkeypatch):
    problems = [correlated(200, 12, 5, seed) for seed in range(3)]
    x, y = zip(*((one, y if task == "multi-class" else y % 2) for one, y in problems), strict=True)
    settings = dict(num_classes=5, task=task, strengths=STRENGTHS)
    expected = fit_logistic_regressions(x, y, **settings)
    search = lbfgs._search

    def without_waiting(*args):
        torch.cuda.set_sync_debug_mode("error")
        try:
            return search(*args)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(lbfgs, "_search", without_waiting)
    there = fit_logistic_regressions([one.cuda() for one in x], [one.cuda() for one in y], **settings)
    for i, heads in enumerate(expected):
        for l2, head in heads.items():
            scores = there[i][l2].scores(x[i].cuda()).cpu()
            torch.testing.assert_close(scores, head.scores(x[i]), rtol=0, atol=1e-4)
