"""Hand-crafted mixing on MoCo: images and keys of each term, losses of each method, whole runs."""

import copy

import pytest
import torch
import torch.nn.functional as F

from ssl_ext.apis import build_model, pretrain
from ssl_ext.engine import read_checkpoint
from ssl_ext.errors import UserError
from ssl_ext.losses import i_mix_terms, info_nce, mixup_info_nce, unit_rows, weighted_info_nce
from ssl_ext.mixups import Mixed

N, QUEUE = 6, 9
HEADS = dict(
    MixMoCo="MixMoCoHead", UnMix="MixMoCoHead", BSIM="MixMoCoHead", IMix="IMixHead", MoCHi="MoCHiHead"
)
PSEUDO = dict(source="pseudo", num_classes=4)


def policy(name, **options):
    return dict(policy=dict(type="MixingPolicy", name=name, **options))


@pytest.fixture
def configure(tiny_config):
    """Configure the tiny run for one of the methods; ``head`` updates the head."""

    def change(method, head=None, **options):
        parts = {key: tiny_config.model[key] for key in ("backbone", "neck")}
        head, options = dict(type=HEADS[method], **(head or {})), dict(dict(queue_size=QUEUE), **options)
        tiny_config.model = dict(type=method, head=head, **parts, **options)
        return tiny_config

    return change


@pytest.fixture
def make(configure):
    """Build a model in training mode whose key network differs from its online network."""

    def build(method, **options):
        torch.manual_seed(0)
        model = build_model(configure(method, **options)).train()
        model.set_dataset_size(20)
        with torch.no_grad():
            for weight in model.key_network.parameters():
                weight.add_(0.02 * torch.randn_like(weight))
        return model

    return build


def views(count=N, seed=1):
    return list(torch.randn(2, count, 3, 8, 8, generator=torch.Generator().manual_seed(seed)))


def samples(count=N):
    return dict(indices=torch.arange(count), labels=torch.arange(count) % 3)


def embed(backbone, neck, images):
    return unit_rows(neck((backbone(images)[-1].mean((2, 3)),))[0])


def keys_of(model, images):
    with torch.no_grad():
        return embed(model.key_network.backbone, model.key_network.neck, images)


def spy(monkeypatch, owner, name):
    calls, real = [], getattr(owner, name)

    def wrapper(*args, **kwargs):
        result = real(*args, **kwargs)
        calls.append((args, kwargs, result))
        return result

    monkeypatch.setattr(owner, name, wrapper)
    return calls


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("MixMoCo", policy("mixup")),
        ("MixMoCo", policy("resizemix")),
        ("MixMoCo", dict(policy("inter_intra"), labels=PSEUDO)),
        ("UnMix", {}),
        ("BSIM", dict(head=dict(plain_weight=0.4, mixed_weight=0.6))),
    ],
)
def test_the_loss_is_info_nce_and_that_of_the_mixtures(make, monkeypatch, method, options):
    model = make(method, **options)
    hand, learned = copy.deepcopy(model), spy(monkeypatch, model, "embed_queries")
    told = spy(monkeypatch, model.head, "mixed")
    losses = model.loss(views(), samples())
    x_query, x_key = views()
    mixed = told[0][0][3]
    assert torch.equal(learned[0][0][0], x_query) and torch.equal(learned[1][0][0], mixed.images)
    plain, mixture = (embed(hand.backbone, hand.neck, images) for images in (x_query, mixed.images))
    keys, queue = keys_of(hand, x_key), hand.queues[0].features
    weights = options.get("head", dict(plain_weight=1.0, mixed_weight=1.0))
    expected = dict(
        loss_contrastive=weights["plain_weight"] * info_nce(plain, keys, queue),
        loss_mixed=weights["mixed_weight"]
        * mixup_info_nce(mixture, keys, keys[mixed.permutation], queue, mixed.lam),
    )
    assert {name for name in losses if name.startswith("loss")} == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value, rtol=1e-4, atol=1e-5, msg=name)
    assert (mixed.images != x_query).any()
    torch.testing.assert_close(model.queues[0].features[:N], keys)


@pytest.mark.parametrize("cutmix_prob", [0.0, 1.0])
def test_un_mix_mixes_with_the_reversed_batch(make, monkeypatch, cutmix_prob):
    model = make("UnMix", cutmix_prob=cutmix_prob)
    told = spy(monkeypatch, model.head, "mixed")
    x = views()[0]
    for _ in range(3):
        model.loss(views())
    shares = set()
    for (_, _, _, mixed), _, _ in told:
        assert mixed.permutation.tolist() == list(range(N))[::-1]
        other = x.flip(0)
        if cutmix_prob:
            own = (mixed.images == x).all(1)
            assert (own | (mixed.images == other).all(1)).all()
            torch.testing.assert_close(own.float().mean((1, 2)), mixed.lam)
        else:
            (lam,) = mixed.lam.unique()
            torch.testing.assert_close(mixed.images, lam * x + (1 - lam) * other)
        shares |= set(mixed.lam.tolist())
    assert len(shares) > 2


def test_manifold_mix_acts_at_the_output_of_a_stage(make, monkeypatch):
    model = make("MixMoCo", layers=(2,), **policy("manifoldmix"))
    hand, mixing = copy.deepcopy(model), []
    real = model.policy.forward
    monkeypatch.setattr(
        model.policy, "forward", lambda x, **kw: mixing.append((x, real(x, **kw))) or mixing[-1][1]
    )
    losses = model.loss(views())
    ((features, mixed),) = mixing
    assert features.shape == (N, 16, 4, 4)
    x_query, x_key = views()
    hand.backbone(x_query)
    hand.backbone.layer2.register_forward_hook(lambda module, inputs, output: mixed.images.detach())
    z, keys = embed(hand.backbone, hand.neck, x_query), keys_of(hand, x_key)
    expected = mixup_info_nce(z, keys, keys[mixed.permutation], hand.queues[0].features, mixed.lam)
    torch.testing.assert_close(losses["loss_mixed"], expected, rtol=1e-4, atol=1e-5)
    losses["loss_mixed"].backward()
    assert all(p.grad.abs().max() > 0 for p in model.backbone.parameters())
    assert not model.backbone.layer2._forward_hooks


@pytest.mark.parametrize("labels", [None, dict(source="ground-truth", num_classes=10)])
def test_saliency_is_that_of_the_frozen_key_network(make, monkeypatch, labels):
    model = make("MixMoCo", labels=labels, **policy("puzzlemix"))
    seen, real = [], model.policy.forward

    def watched(images, labels, loss_fn):
        x = images.clone().requires_grad_()
        seen.append((x, torch.autograd.grad(loss_fn(x), x)[0]))
        assert not any(part.training for part in model.key_network.modules())
        return real(images, labels=labels, loss_fn=loss_fn)

    monkeypatch.setattr(model.policy, "forward", watched)
    losses = model.loss(views(), samples())
    ((x, found),) = seen
    judge = copy.deepcopy(model.key_network).eval()
    features = judge.backbone(x)[-1].mean((2, 3))
    if labels is None:
        z = unit_rows(judge.neck((features,))[0])
        keys = model.queues[0].features[:N]
        # The queue before the keys of this step are enqueued.
        again = make("MixMoCo", labels=labels, **policy("puzzlemix"))
        loss = info_nce(z, keys, again.queues[0].features)
    else:
        loss = F.cross_entropy(model.label_source.classifier(features), samples()["labels"])
    torch.testing.assert_close(torch.autograd.grad(loss, x)[0], found, rtol=1e-3, atol=1e-6)
    assert ("loss_classifier" in losses) == (labels is not None)
    sum(value for name, value in losses.items() if name.startswith("loss")).backward()
    assert all(weight.grad is None for weight in model.key_network.parameters())
    assert all(part.training for part in model.key_network.modules())


def test_mixtures_of_more_than_two_use_all_their_shares(make):
    model = make("MixMoCo", **policy("mixup"))
    z, keys, queue = (unit_rows(part) for part in torch.randn(3, N, 16))
    weights = torch.rand(N, N).softmax(1)
    mixed = Mixed(torch.empty(0), weights.diagonal(), torch.arange(N), weights)
    found = model.head.mixed(z, keys, queue, mixed)["loss_mixed"]
    torch.testing.assert_close(found, weighted_info_nce(z, keys, queue, weights))


def test_i_mix_classifies_mixtures_among_all_keys(make, monkeypatch):
    model = make("IMix")
    hand, told = copy.deepcopy(model), spy(monkeypatch, model.head, "loss")
    losses = model.loss(views())
    permutation, lam = told[0][0][3:]
    assert len(lam.unique()) == N
    x_query, x_key = views()
    mixtures = torch.stack([lam[n] * x_query[n] + (1 - lam[n]) * x_query[permutation[n]] for n in range(N)])
    z, keys = embed(hand.backbone, hand.neck, mixtures), keys_of(hand, x_key)
    terms = i_mix_terms(z, keys, hand.queues[0].features, permutation, lam)
    torch.testing.assert_close(losses["loss_mixed"], terms.loss, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.queues[0].features[:N], keys)


def test_mochi_is_harder_than_moco_with_the_same_views(make):
    model = make("MoCHi", head=dict(num_hard=4, num_mixed=8, num_with_query=2))
    plain = copy.deepcopy(model)
    plain.head.settings.update(num_mixed=0, num_with_query=0)
    x_query, x_key = views()
    z = embed(*(copy.deepcopy(part) for part in (plain.backbone, plain.neck)), x_query)
    expected = info_nce(z, keys_of(copy.deepcopy(plain), x_key), plain.queues[0].features)
    found = plain.loss([x_query, x_key])["loss_contrastive"]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert model.loss([x_query, x_key])["loss_contrastive"] > found


@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("method", HEADS)
def test_any_batch_size_trains_the_network(make, method, count):
    options = dict(policy("inter_intra"), labels=PSEUDO) if method == "MixMoCo" else {}
    model = make(method, **options)
    losses = model.loss(views(count), samples(count))
    assert all(torch.isfinite(value) for value in losses.values())
    sum(value for name, value in losses.items() if name.startswith("loss")).backward()
    network = [*model.backbone.parameters(), *model.neck.parameters()]
    assert all(p.grad.abs().max() > 0 for p in network)
    assert all(p.grad is None for p in model.key_network.parameters())


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("MixMoCo", policy("blend"), "model.policy.name is 'blend'"),
        ("MixMoCo", policy("inter_intra"), "needs model.labels"),
        ("MixMoCo", dict(policy("mixup"), layers=(5,)), "model.layers is .5,."),
        ("MixMoCo", dict(policy("mixup"), layers=()), "model.layers is"),
        ("MixMoCo", dict(policy("puzzlemix"), layers=(0, 1)), "follows the gradient at the images"),
        ("UnMix", dict(alpha=0), "model.alpha is 0"),
        ("UnMix", dict(cutmix_prob=2), "model.cutmix_prob is 2"),
        ("UnMix", dict(head=dict(mixed_weight=-1)), "model.head.mixed_weight is -1"),
        ("IMix", dict(alpha=-1), "model.alpha is -1"),
        ("MoCHi", dict(head=dict(num_hard=0)), "model.head.num_hard is 0"),
        ("MoCHi", dict(head=dict(num_mixed=-1)), "model.head.num_mixed is -1"),
    ],
)
def test_bad_settings_name_the_key(configure, method, options, message):
    with pytest.raises(UserError, match=message):
        build_model(configure(method, **options))


def test_a_resumed_run_with_clusters_equals_a_whole_one(configure, tmp_path):
    config = configure("MixMoCo", labels=dict(PSEUDO, interval=1), queue_size=300, **policy("inter_intra"))
    config.custom_hooks = config.custom_hooks[:1]
    config.train_dataloader.batch_size = 512
    pretrain(config, work_dir=tmp_path / "whole")
    pretrain(config, work_dir=tmp_path / "cut", resume=tmp_path / "whole" / "epoch_1.pth")
    whole, cut = (read_checkpoint(tmp_path / run / "epoch_2.pth")["state_dict"] for run in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    for name, value in whole.items():
        assert torch.equal(value, cut[name]), name
