"""TriMix and Barlow Twins as models: inputs of the losses and number of forward passes."""

import copy

import pytest
import torch
from mmengine.logging import MessageHub

from ssl_ext.apis import build_model, pretrain
from ssl_ext.losses import barlow_twins_terms, self_consistency_loss, virtual_embedding_terms
from ssl_ext.models import TriMix, TriMixHead

LAM = 0.3
TERMS = {"loss_invariance", "loss_redundancy", "loss_virtual", "loss_consistency"}
LOGGED = {"virtual_p_lam", "virtual_p_complement"}


@pytest.fixture
def make(tiny_config):
    """Build the tiny model with a changed head and a fixed λ."""

    def build(model_type="TriMix", **head):
        torch.manual_seed(0)
        tiny_config.model.type = model_type
        tiny_config.model.head = dict(type=f"{model_type}Head", **head)
        model = build_model(tiny_config).train()
        if model_type == "TriMix":
            model.draw_lam = lambda like: torch.tensor(LAM)
        return model

    return build


def views(count=6):
    return list(torch.randn(2, count, 3, 8, 8, generator=torch.Generator().manual_seed(1)))


def batch_norms(model):
    return [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]


def embed(model, images):
    """y and z, computed step by step in one forward pass."""
    y = model.backbone(images)[-1].mean((2, 3))
    return y, model.neck((y,))[0]


def expected_terms(model, view1, view2, on=("z", "z"), **options):
    """Loss terms from three explicit forward passes; options are those of the loss functions."""
    eps = options.get("eps", 1e-5)
    (y1, z1), (_, z2) = embed(model, view1), embed(model, view2)
    yv, zv = embed(model, LAM * view1 + (1 - LAM) * view1.flip(0))
    pairs = dict(y=(y1, yv), z=(z1, zv))
    invariance, redundancy = barlow_twins_terms(z1, z2, eps=eps)
    virtual = virtual_embedding_terms(*pairs[on[0]], LAM, **options)
    options.pop("temperature", None)
    consistency = self_consistency_loss(*pairs[on[1]], LAM, **options)
    return dict(
        loss_invariance=invariance,
        loss_redundancy=5e-3 * redundancy,
        loss_virtual=1000 * virtual[0],
        virtual_p_lam=virtual[1],
        virtual_p_complement=virtual[2],
        loss_consistency=200 * consistency,
    )


def assert_same_terms(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("count", [6, 7], ids=["even batch", "odd batch"])
def test_terms_are_the_pure_losses_of_three_separate_passes(make, count):
    model = make()
    by_hand = copy.deepcopy(model)
    assert_same_terms(model.loss(views(count)), expected_terms(by_hand, *views(count)))
    # Each pass had its own batch statistics, so running averages were updated three times.
    for norm, expected in zip(batch_norms(model), batch_norms(by_hand), strict=True):
        assert norm.num_batches_tracked == 3
        torch.testing.assert_close(norm.running_mean, expected.running_mean)
        torch.testing.assert_close(norm.running_var, expected.running_var)


@pytest.mark.parametrize("on", [("y", "y"), ("z", "y"), ("y", "z"), ("z", "z")])
@pytest.mark.parametrize("options", [dict(eps=0.5), dict(temperature=0.1), dict(feature_norm=False)])
def test_head_options_reach_every_term(make, on, options):
    model = make(virtual_on=on[0], consistency_on=on[1], **options)
    by_hand = copy.deepcopy(model)
    found = model.loss(views())
    assert_same_terms(found, expected_terms(by_hand, *views(), on, **options))
    default = make(virtual_on=on[0], consistency_on=on[1]).loss(views())
    assert (found["loss_virtual"] - default["loss_virtual"]).abs() > 1e-4


def count_passes(model):
    seen = []
    model.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    return seen


def test_the_third_pass_sees_the_first_view_mixed_with_its_reversed_batch(make):
    model = make()
    seen = count_passes(model)
    view1, view2 = views()
    model.loss([view1, view2])
    assert len(seen) == 3
    assert seen[0] is view1 and seen[1] is view2
    torch.testing.assert_close(seen[2], LAM * view1 + (1 - LAM) * view1.flip(0))


@pytest.mark.parametrize(
    ("head", "missing"),
    [
        (dict(virtual_weight=0.0), {"loss_virtual", *LOGGED}),
        (dict(consistency_weight=0.0), {"loss_consistency"}),
        (
            dict(virtual_weight=0.0, consistency_weight=0.0),
            {"loss_virtual", "loss_consistency", *LOGGED},
        ),
    ],
)
def test_a_weight_of_zero_switches_its_term_off(make, head, missing):
    everything = make().loss(views())
    model = make(**head)
    seen = count_passes(model)
    losses = model.loss(views())
    assert losses.keys() == (TERMS | LOGGED) - missing
    for name, value in losses.items():
        torch.testing.assert_close(value, everything[name], msg=name)
    assert len(seen) == (2 if len(head) == 2 else 3)


@pytest.mark.parametrize("on", ["y", "z"])
@pytest.mark.parametrize("term", sorted(TERMS))
def test_each_term_alone_has_a_gradient(make, term, on):
    model = make(virtual_on=on, consistency_on=on, temperature=0.1)
    model.loss(views())[term].backward()
    assert all(p.grad.abs().max() > 0 for p in model.backbone.parameters())
    # Terms on backbone features give the projector no gradient.
    projector = [p.grad for p in model.neck.parameters()]
    if on == "y" and term in ("loss_virtual", "loss_consistency"):
        assert all(gradient is None for gradient in projector)
    else:
        assert all(gradient.abs().max() > 0 for gradient in projector)


def test_reversing_the_batch_changes_nothing(make):
    # The partner of every image stays its partner; a shuffled batch has other partners.
    model, reversed_model, shuffled = make(), make(), make()
    losses = model.loss(views())
    assert_same_terms(reversed_model.loss([view.flip(0) for view in views()]), losses)
    order = torch.tensor([1, 0, 2, 3, 4, 5])
    other = shuffled.loss([view[order] for view in views()])
    torch.testing.assert_close(other["loss_invariance"], losses["loss_invariance"], rtol=1e-4, atol=1e-5)
    assert (other["loss_consistency"] - losses["loss_consistency"]).abs() > 1e-3


def test_lam_of_every_step_is_a_new_uniform_number(make):
    model = make()
    torch.manual_seed(0)
    draws = torch.stack([TriMix.draw_lam(model, torch.zeros(1)) for _ in range(2000)])
    assert draws.ndim == 1 and draws.dtype == torch.float32
    # Kolmogorov-Smirnov distance to the uniform distribution; 0.0364 is the 1 % point.
    assert (draws.sort().values - torch.arange(1, 2001) / 2000).abs().max() < 0.0364
    torch.manual_seed(0)
    assert TriMix.draw_lam(model, torch.zeros(1)) == draws[0]


def test_lam_per_epoch_is_a_function_of_seed_and_epoch_alone(make):
    model = make()
    model.lam_per = "epoch"
    hub = MessageHub.get_instance("lam-per-epoch")

    def lam(seed, epoch):
        hub.update_info("seed", seed)
        hub.update_info("epoch", epoch)
        torch.rand(7)  # the state of the global generator does not matter
        state = torch.get_rng_state()
        model.before_step(1, 1)
        value = TriMix.draw_lam(model, torch.zeros(1))
        assert torch.equal(torch.get_rng_state(), state)
        return value.item()

    first = [[lam(seed, epoch) for epoch in range(200)] for seed in (0, 1)]
    assert first == [[lam(seed, epoch) for epoch in range(200)] for seed in (0, 1)]
    assert len({*first[0], *first[1]}) == 400
    draws = torch.tensor(first).flatten().sort().values
    assert (draws - torch.arange(1, 401) / 400).abs().max() < 0.0815  # the 1 % point


@pytest.mark.parametrize("lam_per", ["epoch", "step"])
def test_lam_within_a_run(tiny_config, tmp_path, monkeypatch, lam_per):
    drawn, draw = [], TriMix.draw_lam
    monkeypatch.setattr(
        TriMix, "draw_lam", lambda self, like: drawn.append(draw(self, like).clone()) or drawn[-1]
    )
    tiny_config.model.lam_per = lam_per
    tiny_config.custom_hooks = tiny_config.custom_hooks[:1]
    tiny_config.train_dataloader.batch_size = 512
    pretrain(tiny_config, work_dir=tmp_path)
    values = [value.item() for value in drawn]
    assert len(values) == 4
    assert len(set(values)) == (2 if lam_per == "epoch" else 4)
    assert (values[0] == values[1]) == (values[2] == values[3]) == (lam_per == "epoch")


@pytest.mark.parametrize(
    ("options", "projections"),
    [
        (dict(), 3),
        (dict(consistency_on="y"), 3),
        (dict(virtual_on="y", consistency_on="y"), 2),
        (dict(virtual_weight=0, consistency_on="y"), 2),
        (dict(consistency_weight=0, virtual_on="y"), 2),
    ],
)
def test_mixed_images_are_projected_only_for_a_term_on_z(make, options, projections):
    model = make(**options)
    model.loss(views())
    assert model.neck.bn0.num_batches_tracked == projections
    assert model.backbone.bn1.num_batches_tracked == 3


def test_unknown_lam_per_is_refused(tiny_config):
    tiny_config.model.lam_per = "batch"
    with pytest.raises(ValueError, match="model.lam_per is 'batch'; allowed are 'step' and 'epoch'"):
        build_model(tiny_config)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(virtual_on="x"), "model.head.virtual_on is 'x'; allowed are 'y' and 'z'"),
        (dict(consistency_on="Z"), "model.head.consistency_on is 'Z'"),
        (dict(virtual_weight=-1), "model.head.virtual_weight is -1"),
        (dict(consistency_weight=-0.5), "model.head.consistency_weight is -0.5"),
        (dict(temperature=0), "model.head.temperature is 0"),
    ],
)
def test_bad_head_settings_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        TriMixHead(**options)


def test_barlow_twins_terms_are_the_pure_losses_of_two_separate_passes(make):
    model = make("BarlowTwins", redundancy_weight=0.02, eps=0.5)
    by_hand = copy.deepcopy(model)
    (_, z1), (_, z2) = (embed(by_hand, view) for view in views())
    invariance, redundancy = barlow_twins_terms(z1, z2, eps=0.5)
    losses = model.loss(views())
    assert_same_terms(losses, dict(loss_invariance=invariance, loss_redundancy=0.02 * redundancy))
    for norm, expected in zip(batch_norms(model), batch_norms(by_hand), strict=True):
        assert norm.num_batches_tracked == 2
        torch.testing.assert_close(norm.running_var, expected.running_var)
    for term in ("loss_invariance", "loss_redundancy"):
        model.zero_grad()
        losses[term].backward(retain_graph=True)
        assert all(p.grad.abs().max() > 0 for p in model.parameters())


def test_embedding_is_the_pooled_last_feature_map(make):
    model = make().eval()
    images = views()[0]
    expected = model.backbone(images)[-1].flatten(2).mean(2)
    torch.testing.assert_close(model.extract_embedding(images), expected)
    assert model.extract_embedding(images).shape == (6, 64)
    torch.testing.assert_close(model.project(expected), model.neck((expected,))[0])
