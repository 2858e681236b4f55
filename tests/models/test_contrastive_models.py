"""SimCLR, MoCo and their Jaccard forms as models: passes, key network, queues, inputs of the losses."""

import copy

import pytest
import torch

from ssl_ext.apis import build_model, pretrain
from ssl_ext.engine import read_checkpoint
from ssl_ext.errors import UserError
from ssl_ext.losses import info_nce_terms, jaccard_contrastive_terms, nt_xent_terms, unit_rows
from ssl_ext.models import BiProjector, JaccardHead, MoCoHead, SimCLRHead

QUEUE = 7
HEADS = dict(SimCLR="SimCLRHead", MoCo="MoCoHead", JaccardSimCLR="JaccardHead", JaccardMoCo="JaccardHead")
JACCARD = ("loss_projector1", "loss_projector2", "loss_jaccard")


@pytest.fixture
def configure(tiny_config):
    """Configure the tiny run for one of the four methods."""

    def change(method, head=None, **options):
        tiny_config.model.update(type=method, head=dict(type=HEADS[method], **(head or {})), **options)
        if "MoCo" in method:
            tiny_config.model.setdefault("queue_size", QUEUE)
        if "Jaccard" in method:
            tiny_config.model.neck.update(type="BiProjector", num_layers=2)
        return tiny_config

    return change


@pytest.fixture
def make(configure):
    def build(method, **settings):
        torch.manual_seed(0)
        return build_model(configure(method, **settings)).train()

    return build


def views(count=6, seed=1):
    return list(torch.randn(2, count, 3, 8, 8, generator=torch.Generator().manual_seed(seed)))


def embeddings(backbone, neck, images):
    """Outputs of the neck, computed step by step in one forward pass."""
    return neck((backbone(images)[-1].mean((2, 3)),))


def batch_norms(module):
    return [m for m in module.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-6, msg=name)


def weighted(terms, weights):
    losses = {name: w * term for name, w, term in zip(JACCARD, weights, terms[:3], strict=True)}
    return dict(losses, positive_top1=terms.positive_top1)


@pytest.mark.parametrize("method", ["SimCLR", "JaccardSimCLR"])
def test_simclr_forms_are_the_pure_losses_of_two_separate_passes(make, method):
    if method == "SimCLR":
        model = make(method, head=dict(temperature=0.3))
    else:
        model = make(method, head=dict(alpha=(0.5, 0.2), temperature=0.3, intersection="affine", eps=0.01))
    hand = copy.deepcopy(model)
    first, second = (embeddings(hand.backbone, hand.neck, view) for view in views())
    if method == "SimCLR":
        terms = nt_xent_terms(first[0], second[0], temperature=0.3)
        expected = dict(loss_contrastive=terms.loss, positive_top1=terms.positive_top1)
    else:
        settings = dict(temperature=0.3, intersection="affine", eps=0.01)
        expected = weighted(jaccard_contrastive_terms(first, second, **settings), (0.5, 0.2, 0.3))
    assert_same(model.loss(views()), expected)
    for norm, other in zip(batch_norms(model), batch_norms(hand), strict=True):
        assert norm.num_batches_tracked == 2
        torch.testing.assert_close(norm.running_var, other.running_var)


@pytest.mark.parametrize("method", ["MoCo", "JaccardMoCo"])
def test_moco_forms_compare_queries_with_keys_of_the_copy_and_the_queue(make, method):
    head = dict(temperature=0.3)
    if method == "JaccardMoCo":
        head.update(alpha=(0.5, 0.2), intersection="affine", eps=0.01)
    model = make(method, head=head)
    model.after_step(1, 10)
    with torch.no_grad():  # make the key network differ from the online network
        for parameter in model.key_network.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    hand = copy.deepcopy(model)
    queries = [unit_rows(z) for z in embeddings(hand.backbone, hand.neck, views()[0])]
    key_network = hand.key_network
    keys = [unit_rows(z).detach() for z in embeddings(key_network.backbone, key_network.neck, views()[1])]
    queues = [queue.features for queue in hand.queues]
    if method == "MoCo":
        terms = info_nce_terms(queries[0], keys[0], queues[0], temperature=0.3)
        expected = dict(loss_contrastive=terms.loss, positive_top1=terms.positive_top1)
    else:
        terms = jaccard_contrastive_terms(
            queries, keys, queues, temperature=0.3, intersection="affine", eps=0.01
        )
        expected = weighted(terms, (0.5, 0.2, 0.3))
    assert_same(model.loss(views()), expected)
    # Each network made one pass, with its own batch statistics.
    assert {int(norm.num_batches_tracked) for norm in batch_norms(model)} == {1}
    # Then the keys of every projector replaced the oldest entries.
    assert len(model.queues) == len(keys) == (1 if method == "MoCo" else 2)
    for queue, key, before in zip(model.queues, keys, queues, strict=True):
        torch.testing.assert_close(queue.features, torch.cat([key, before[6:]]))
        assert queue.pointer == 6
    if method == "JaccardMoCo":
        assert not torch.allclose(model.queues[0].features[:6], model.queues[1].features[:6])


@pytest.mark.parametrize("method", ["MoCo", "JaccardMoCo"])
def test_evaluation_leaves_the_queues_alone(make, method):
    model = make(method).eval()
    before = copy.deepcopy(model.state_dict())
    model.loss(views())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("method", ["MoCo", "JaccardMoCo"])
def test_the_key_network_follows_and_takes_no_gradient(make, method):
    model = make(method, momentum=0.9)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    pairs = list(
        zip(
            [*model.backbone.parameters(), *model.neck.parameters()],
            model.key_network.parameters(),
            strict=True,
        )
    )
    assert all(torch.equal(own, followed) for own, followed in pairs)
    start = [followed.clone() for _, followed in pairs]
    losses = model.loss(views())
    sum(value for name, value in losses.items() if name.startswith("loss")).backward()
    optimizer.step()
    assert all(p.grad is None and not p.requires_grad for p in model.key_network.parameters())
    assert all(torch.equal(followed, before) for (_, followed), before in zip(pairs, start, strict=True))
    model.after_step(1, 10)
    for (own, followed), before in zip(pairs, start, strict=True):
        torch.testing.assert_close(followed, 0.9 * before + 0.1 * own)
    assert any((own != followed).any() for own, followed in pairs)


@pytest.mark.parametrize("method", HEADS)
def test_which_network_each_term_teaches(make, method):
    model = make(method)
    losses = model.loss(views())
    assert not losses.pop("positive_top1").requires_grad
    for name, loss in losses.items():
        model.zero_grad()
        loss.backward(retain_graph=True)
        assert all(p.grad.abs().max() > 0 for p in model.backbone.parameters()), name
        if "Jaccard" not in method:
            assert all(p.grad.abs().max() > 0 for p in model.neck.parameters())
            continue
        for number in (1, 2):
            projector = getattr(model.neck, f"projector{number}")
            learns = name in ("loss_jaccard", f"loss_projector{number}")
            if learns:
                assert all(p.grad.abs().max() > 0 for p in projector.parameters()), name
            else:
                assert all(p.grad is None or not p.grad.any() for p in projector.parameters()), name


def test_bi_projector_is_two_projectors_that_differ():
    neck = BiProjector(12, 8, 4, num_layers=3, with_last_bn=False, norm_cfg=dict(type="BN1d"))
    neck.init_weights()
    neck.eval()
    feature = torch.randn(5, 12)
    first, second = neck((feature,))
    assert first.shape == second.shape == (5, 4)
    (expected1,), (expected2,) = neck.projector1((feature,)), neck.projector2((feature,))
    assert torch.equal(first, expected1) and torch.equal(second, expected2)
    assert not torch.allclose(first, second)
    assert sum(isinstance(m, torch.nn.Linear) for m in neck.projector2.modules()) == 3


@pytest.mark.parametrize("method", HEADS)
def test_defaults_of_the_constructors(configure, method):
    config = configure(method)
    config.model.pop("queue_size", None)
    if method == "MoCo":
        config.model.neck.out_channels = 2  # 65,536 entries
    model = build_model(config)
    assert model.head.temperature == (0.2 if method == "MoCo" else 0.5)
    if "MoCo" in method:
        size, momentum = dict(MoCo=(65536, 0.999), JaccardMoCo=(4096, 0.99))[method]
        assert {len(queue.features) for queue in model.queues} == {size}
        assert model.momentum == momentum


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("MoCo", dict(queue_size=0), "model.queue_size is 0"),
        ("JaccardMoCo", dict(momentum=1.5), "model.momentum is 1.5"),
        ("SimCLR", dict(head=dict(temperature=0)), "model.head.temperature is 0"),
        ("JaccardSimCLR", dict(head=dict(alpha=(1, 1))), "model.head.alpha"),
        ("JaccardSimCLR", dict(head=dict(intersection="minimum")), "model.head.intersection"),
        ("JaccardSimCLR", dict(head=dict(eps=-1)), "model.head.eps"),
    ],
)
def test_bad_settings_name_the_key(configure, method, options, message):
    with pytest.raises(UserError, match=message):
        build_model(configure(method, **options))


def test_heads_stand_alone():
    z = torch.randn(3, 5, 4)
    assert SimCLRHead().loss(z[0], z[1])["loss_contrastive"] == nt_xent_terms(z[0], z[1]).loss
    u = unit_rows(z.flatten(0, 1)).unflatten(0, (3, 5))
    assert MoCoHead().loss(*u)["loss_contrastive"] == info_nce_terms(*u).loss
    third = jaccard_contrastive_terms(z[:2], z[1:]).jaccard / 3
    torch.testing.assert_close(JaccardHead().loss(z[:2], z[1:])["loss_jaccard"], third)


def test_a_resumed_run_has_the_same_queues_and_key_network(configure, tmp_path):
    config = configure("JaccardMoCo", queue_size=300)  # the batch of 256 does not divide it
    config.custom_hooks = config.custom_hooks[:1]
    pretrain(config, work_dir=tmp_path / "whole")
    (tmp_path / "cut").mkdir()
    (tmp_path / "whole" / "epoch_1.pth").rename(tmp_path / "cut" / "epoch_1.pth")
    pretrain(config, work_dir=tmp_path / "cut", resume=str(tmp_path / "cut" / "epoch_1.pth"))
    whole, cut = (read_checkpoint(tmp_path / run / "epoch_2.pth")["state_dict"] for run in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    for name, value in whole.items():
        assert torch.equal(value, cut[name]), name
    pointers = [int(whole[f"queues.{number}.pointer"]) for number in (0, 1)]
    assert pointers == [8 * 256 % 300] * 2
