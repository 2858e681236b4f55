"""SwAV's assignments and loss against loops written from the paper, closed forms and known gradients."""

import math

import pytest
import torch

from ssl_ext.losses import sinkhorn_knopp, swapped_prediction_loss


def loop_assignments(scores, epsilon, iterations):
    """Alternate scaling of exp(scores / epsilon), one entry at a time."""
    n, k = scores.shape
    q = [[math.exp(s / epsilon) for s in row] for row in scores.tolist()]
    for _ in range(iterations):
        for j in range(k):
            total = math.fsum(row[j] for row in q)
            for row in q:
                row[j] *= n / k / total
        q = [[value / math.fsum(row) for value in row] for row in q]
    return torch.tensor(q, dtype=torch.float64)


def loop_loss(views, temperature, epsilon, iterations):
    losses = []
    for i in (0, 1):
        q = loop_assignments(views[i], epsilon, iterations).tolist()
        for j, view in enumerate(views):
            if j == i:
                continue
            for row, assignment in zip(view.tolist(), q, strict=True):
                total = math.fsum(math.exp(s / temperature) for s in row)
                losses.append(
                    -math.fsum(
                        a * (s / temperature - math.log(total)) for a, s in zip(assignment, row, strict=True)
                    )
                )
    return math.fsum(losses) / len(losses)


def cosines(*shape):
    return torch.rand(*shape, dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize(("epsilon", "iterations"), [(0.05, 1), (0.05, 3), (0.3, 7)])
def test_assignments_equal_a_slow_loop(epsilon, iterations):
    scores = cosines(7, 4)
    found = sinkhorn_knopp(scores, epsilon=epsilon, iterations=iterations)
    torch.testing.assert_close(found, loop_assignments(scores, epsilon, iterations), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(12, 5), (5, 12)])
def test_many_iterations_give_the_totals_exactly(shape):
    q = sinkhorn_knopp(cosines(*shape), iterations=2000)
    torch.testing.assert_close(q.sum(1), torch.ones(shape[0]).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(
        q.sum(0), torch.full((shape[1],), shape[0] / shape[1]).double(), rtol=1e-6, atol=0
    )


def test_two_samples_and_prototypes_have_a_closed_form():
    scores, epsilon = cosines(2, 2), 0.2
    # Doubly stochastic 2 x 2 matrices are [[p, 1 - p], [1 - p, p]]; scaling keeps (p / (1 - p))².
    odds = (scores[0, 0] + scores[1, 1] - scores[0, 1] - scores[1, 0]) / epsilon
    p = torch.sigmoid(odds / 2)
    expected = torch.stack([torch.stack([p, 1 - p]), torch.stack([1 - p, p])])
    torch.testing.assert_close(sinkhorn_knopp(scores, epsilon=epsilon, iterations=500), expected)


def test_equal_scores_are_assigned_equally_and_prototypes_used_by_all_are_shared_out():
    torch.testing.assert_close(sinkhorn_knopp(torch.full((6, 4), 0.3)), torch.full((6, 4), 0.25))
    scores = torch.tensor([[0.9, 0.1]]).repeat(4, 1) + torch.linspace(0, 0.3, 4)[:, None] * torch.tensor(
        [1.0, -1]
    )
    q = sinkhorn_knopp(scores, epsilon=0.01, iterations=100)
    assert scores.argmax(1).tolist() == [0, 0, 0, 0]
    assert q.argmax(1).tolist() == [1, 1, 0, 0]


def test_float32_with_sharp_assignments_neither_overflows_nor_vanishes():
    scores = cosines(40, 9).float()
    scores[:, 0] = -1  # a distant prototype: its column of exp(scores / epsilon) underflows to 0
    q = sinkhorn_knopp(scores, epsilon=1e-3, iterations=20)
    assert q.isfinite().all()
    torch.testing.assert_close(q.sum(1), torch.ones(40))
    # float64 represents exp(±1000 / 2), so the iterations need no logarithms.
    half = loop_assignments((scores.double() * 1e3 + 200) / 2, 2.0, 1)
    assert half.isfinite().all()
    torch.testing.assert_close(
        sinkhorn_knopp(scores.double() * 250, epsilon=1.0, iterations=5),
        loop_assignments(scores.double(), 1 / 250, 5),
    )


@pytest.mark.parametrize("views", [2, 4])
def test_loss_equals_a_slow_loop(views):
    scores = cosines(views, 6, 5)
    found = swapped_prediction_loss(*scores, temperature=0.3, epsilon=0.1, iterations=2)
    assert found.item() == pytest.approx(loop_loss(scores, 0.3, 0.1, 2), abs=1e-12)


def test_gradient_is_that_of_the_predictions_alone():
    scores = cosines(3, 6, 5).requires_grad_()
    swapped_prediction_loss(*scores, temperature=0.3).backward()
    with torch.no_grad():
        p = (scores / 0.3).softmax(2)
        q1, q2 = sinkhorn_knopp(scores[0]), sinkhorn_knopp(scores[1])
        # Four cross-entropies, each the mean of 6 samples, with derivative (p - q) / temperature.
        expected = torch.stack([p[0] - q2, p[1] - q1, 2 * p[2] - q1 - q2]) / (4 * 6 * 0.3)
    torch.testing.assert_close(scores.grad, expected, rtol=0, atol=1e-12)


def test_the_first_two_views_swap_and_samples_and_prototypes_permute():
    scores = cosines(3, 8, 5)
    before = swapped_prediction_loss(*scores)
    permuted = scores[[1, 0, 2]][:, torch.randperm(8)][:, :, torch.randperm(5)]
    torch.testing.assert_close(swapped_prediction_loss(*permuted), before)
    assert not torch.isclose(swapped_prediction_loss(*scores[[2, 1, 0]]), before)


def test_half_precision_inputs_are_computed_in_float32():
    scores = cosines(2, 16, 6).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = swapped_prediction_loss(*scores)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, swapped_prediction_loss(*scores.float()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(temperature=0), "temperature must be > 0, got 0 .config key model.head.temperature"),
        (dict(epsilon=-1.0), "epsilon must be > 0, got -1.0 .config key model.head.epsilon"),
        (dict(iterations=0), "iterations must be an integer >= 1, got 0 .*sinkhorn_iterations"),
    ],
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        swapped_prediction_loss(*torch.rand(2, 3, 4), **options)


def test_views_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"of one shape, got \(3, 4\) and \(2, 4\)"):
        swapped_prediction_loss(torch.rand(3, 4), torch.rand(2, 4))
