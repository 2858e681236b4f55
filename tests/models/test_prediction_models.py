"""BYOL, SimSiam, Cross and TriBYOL: their equations, passes, gradients and targets."""

import copy

import pytest
import torch

from ssl_ext.apis import build_model, pretrain
from ssl_ext.engine.weights.load import load_weights
from ssl_ext.errors import UserError

ALGORITHMS = {
    "BYOL": dict(),
    "SimSiam": dict(),
    "Cross": dict(),
    "TriBYOL": dict(),
    "TriBYOL, alternate": dict(target_update="alternate"),
    "TriBYOL, independent": dict(target_init="independent"),
    "TriBYOL, one direction": dict(symmetric=False),
    "TriBYOL, alternate, one direction": dict(target_update="alternate", symmetric=False),
}
EVERY = pytest.mark.parametrize("case", ALGORITHMS)


@pytest.fixture
def make(prediction_config):
    """Build the tiny model in float64, with targets that differ from the online network."""

    def build(case, **options):
        torch.manual_seed(0)
        config = prediction_config(case.split(",")[0], **ALGORITHMS.get(case, {}), **options)
        model = build_model(config).double().train()
        for target in model.ema_networks():
            for p in target.parameters():
                p.data.add_(0.1 * torch.randn_like(p))
        return model

    return build


def views(model, count=6):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(model.num_views, count, 3, 8, 8, dtype=torch.float64, generator=generator)
    return list(images)


def project(network, images):
    """Projection, computed step by step in one forward pass."""
    return network.neck((network.backbone(images)[-1].mean((2, 3)),))[0]


def distance(p, z):
    """ℓ(p, z) = 2 - 2 cos, averaged over rows, with a stop-gradient on the target."""
    rows = [
        2 - 2 * (a * b).sum() / ((a * a).sum().sqrt() * (b * b).sum().sqrt())
        for a, b in zip(p, z.detach(), strict=True)
    ]
    return sum(rows) / len(rows)


def expected_terms(case, model, images):
    """The terms from the equations, with the model's own networks and one pass for every symbol."""
    z = [project(model, view) for view in images]
    p = [model.predictor((projection,))[0] for projection in z]

    def pair(first, second):
        return distance(*first) + distance(*second)

    if case == "SimSiam":
        return dict(loss_prediction=pair((p[0], z[1]), (p[1], z[0])) / 4)
    if case in ("BYOL", "Cross"):
        t = [project(model.target, view) for view in images]
        if case == "BYOL":
            return dict(loss_prediction=pair((p[0], t[1]), (p[1], t[0])))
        return dict(
            loss_cross_view=pair((p[0], z[1]), (p[1], z[0])) / 2,
            loss_cross_model=pair((p[0], t[0]), (p[1], t[1])) / 2,
        )
    first, second = model.targets[0], model.targets[-1]
    if "one direction" in case:
        return dict(
            loss_target1=distance(p[0], project(first, images[1])),
            loss_target2=distance(p[0], project(second, images[2])),
        )
    return dict(
        loss_target1=pair((p[0], project(first, images[1])), (p[1], project(first, images[0]))) / 2,
        loss_target2=pair((p[0], project(second, images[2])), (p[2], project(second, images[0]))) / 2,
    )


@EVERY
def test_terms_and_gradients_are_those_of_the_equations(make, case):
    model = make(case)
    by_hand = copy.deepcopy(model)
    found, expected = model.loss(views(model)), expected_terms(case, by_hand, views(model))
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=1e-12, msg=name)
    sum(found.values()).backward()
    sum(expected.values()).backward()
    for (name, p), q in zip(model.named_parameters(), by_hand.parameters(), strict=True):
        if name.startswith("target"):
            assert p.grad is None and not p.requires_grad, name
        else:
            # In every row sg(z) is a constant: a gradient through a target would show here.
            torch.testing.assert_close(p.grad, q.grad, rtol=0, atol=1e-11, msg=name)
            assert p.grad.abs().max() > 0, name


@pytest.mark.parametrize("case", ["SimSiam", "Cross"])
def test_gradient_by_finite_differences_with_the_projections_held_fixed(make, case):
    model = make(case)
    images = views(model)
    weight = model.predictor.fc1.weight
    losses = model.loss(images)
    (gradient,) = torch.autograd.grad(sum(losses.values()), weight)
    # Targets do not depend on the predictor's weights.
    step = 1e-6 * torch.randn_like(weight)
    with torch.no_grad():
        weight.add_(step)
        above = sum(model.loss(images).values())
        weight.sub_(2 * step)
        below = sum(model.loss(images).values())
    assert ((above - below) / 2).item() == pytest.approx((gradient * step).sum().item(), rel=1e-5)


def test_simsiam_has_the_published_value_up_to_one(make):
    model = make("SimSiam")
    images = views(model)
    (z1, p1), (z2, p2) = (model.online(view) for view in images)
    published = -(torch.cosine_similarity(p1, z2) + torch.cosine_similarity(p2, z1)).mean() / 2
    torch.testing.assert_close(model.loss(images)["loss_prediction"], 1 + published)


PASSES = {
    "BYOL": ([0, 1], [[0, 1]]),
    "SimSiam": ([0, 1], []),
    "Cross": ([0, 1], [[0, 1]]),
    "TriBYOL": ([0, 1, 2], [[0, 1, 2]]),
    "TriBYOL, alternate": ([0, 1, 2], [[0, 1], [0, 2]]),
    "TriBYOL, independent": ([0, 1, 2], [[0, 1], [0, 2]]),
    "TriBYOL, one direction": ([0], [[1, 2]]),
    "TriBYOL, alternate, one direction": ([0], [[1], [2]]),
}


@EVERY
def test_every_network_sees_what_it_needs_once(make, case):
    model = make(case)
    images = views(model)

    def count(network):
        seen = []
        network.backbone.register_forward_pre_hook(
            lambda _, inputs: seen.append(next(i for i, view in enumerate(images) if view is inputs[0]))
        )
        return seen

    online = count(model)
    targets = [count(target) for target in model.ema_networks()]
    model.loss(images)
    assert (sorted(online), [sorted(seen) for seen in targets]) == PASSES[case]
    assert model.predictor.bn0.num_batches_tracked == len(online)


def parameters(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def train(model, steps):
    """Parameters of the targets and of the online network before the first and after every step."""
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    model.sync_ema()
    history = []
    for step in range(steps + 1):
        if step:
            model.before_step(step, step)
            sum(model.loss(views(model)).values()).backward()
            optimiser.step()
            optimiser.zero_grad()
            model.after_step(step, steps)
        online = torch.cat([parameters(model.backbone), parameters(model.neck)])
        history.append(([parameters(target) for target in model.targets], online))
    return history


def test_alternating_targets_follow_every_second_step_with_the_squared_momentum(make):
    history = train(make("TriBYOL, alternate", momentum=0.9), 4)
    expected = history[0][0]
    assert torch.equal(*expected)
    for step in range(1, 5):
        targets, online = history[step]
        expected[(step - 1) % 2] = 0.81 * expected[(step - 1) % 2] + 0.19 * online
        for found, value in zip(targets, expected, strict=True):
            torch.testing.assert_close(found, value)
    assert not torch.equal(*history[2][0])


def test_targets_that_both_follow_are_one_network(make):
    model = make("TriBYOL", momentum=0.9)
    two = make("TriBYOL, alternate", momentum=0.9)
    two.alternate = False
    for ((found,), _), ((first, second), _) in zip(train(model, 3), train(two, 3), strict=True):
        assert torch.equal(first, second)
        assert torch.equal(found, first)
    for found, value in zip(model.loss(views(model)).values(), two.loss(views(two)).values(), strict=True):
        assert torch.equal(found, value)


def test_independent_targets_start_apart_and_both_follow(prediction_config):
    model = build_model(prediction_config("TriBYOL", target_init="independent", momentum=0.9)).double()
    ((first, second), online), *_ = start = train(model, 1)
    for value in (first, second):
        # Drawn like the network's own weights.
        assert not torch.equal(value, online) and not torch.equal(first, second)
        torch.testing.assert_close(value.std(), online.std(), rtol=0.1, atol=0)
    for before, after in zip((first, second), start[1][0], strict=True):
        torch.testing.assert_close(after, 0.9 * before + 0.1 * start[1][1])


def test_weights_with_two_targets_load_into_one(prediction_config, tmp_path):
    two = build_model(prediction_config("TriBYOL", target_update="alternate"))
    one = build_model(prediction_config("TriBYOL"))
    torch.save({"state_dict": two.state_dict()}, tmp_path / "two.pth")
    report = load_weights(one, tmp_path / "two.pth")
    assert not report.missing and all(name.startswith("targets.1.") for name in report.unexpected)


def test_defaults_are_the_published_ones(make):
    for case, schedule in (("BYOL", "cosine"), ("Cross", "constant"), ("TriBYOL", "constant")):
        model = make(case)
        assert (model.momentum, model.momentum_schedule) == (0.996, schedule)


def test_predictor_is_initialised_with_the_model(prediction_config):
    config = prediction_config("SimSiam")
    config.model.predictor.init_cfg = [dict(type="Constant", layer="Linear", val=0.5)]
    assert torch.all(build_model(config).predictor.fc1.weight == 0.5)


@pytest.mark.parametrize(
    ("case", "options", "message"),
    [
        (
            "TriBYOL",
            {"model.target_update": "both"},
            "model.target_update is 'both'; allowed are 'all'",
        ),
        ("TriBYOL", {"model.target_init": "random"}, "model.target_init is 'random'; allowed are 'online'"),
        ("BYOL", {"model.predictor.in_channels": 8}, "model.predictor.in_channels is 8; .* 16"),
        ("SimSiam", {"model.predictor.out_channels": 4}, "model.predictor.out_channels is 4; .* 16"),
        ("TriBYOL", {"views.0.repeats": 2}, "TriBYOL needs 3 views .* give 2: change views"),
        ("BYOL", {"views.0.repeats": 3}, "BYOL needs 2 views .* give 3"),
    ],
)
def test_bad_settings_are_named_before_anything_is_written(
    prediction_config, tmp_path, case, options, message
):
    with pytest.raises(UserError, match=message):
        pretrain(prediction_config(case), work_dir=tmp_path / "run", options=options)
    assert not (tmp_path / "run").exists()
