"""AMix on MoCo: inputs of each term, gradient flow, restored state and checkpoints."""

import copy
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from ssl_ext.apis import build_model, pretrain
from ssl_ext.engine import read_checkpoint
from ssl_ext.errors import UserError
from ssl_ext.losses import info_nce, mixup_bce, mixup_info_nce, mixup_pbce, unit_rows
from ssl_ext.mixups import mask_loss
from ssl_ext.models.utils import LabelSource, frozen, stage_features

N, QUEUE, CLUSTERS = 6, 9, 4
TRUTH = dict(source="ground-truth", num_classes=10)
PSEUDO = dict(source="pseudo", num_classes=CLUSTERS)


@pytest.fixture
def configure(tiny_config):
    """Configure the tiny run for AMix; ``head`` updates the head."""

    def change(method="AMixI", head=None, **options):
        options = dict(queue_size=QUEUE, mix_block=dict(in_channels=32), **options)
        parts = {key: tiny_config.model[key] for key in ("backbone", "neck")}
        tiny_config.model = dict(type=method, head=dict(type="AMixHead", **(head or {})), **parts, **options)
        return tiny_config

    return change


@pytest.fixture
def make(configure):
    """Build a model in training mode with non-constant masks and a key network unlike its online network."""

    def build(method="AMixI", **options):
        torch.manual_seed(0)
        model = build_model(configure(method, **options)).train()
        model.set_dataset_size(20)
        with torch.no_grad():
            for name, weight in model.mix_block.named_parameters():
                if name != "gamma":
                    weight.normal_()
            for weight in model.key_network.parameters():
                weight.add_(0.02 * torch.randn_like(weight))
        return model

    return build


def views(count=N, seed=1):
    return list(torch.randn(2, count, 3, 8, 8, generator=torch.Generator().manual_seed(seed)))


def samples(count=N):
    return dict(indices=torch.arange(count), labels=torch.arange(count) % 3)


def spy(monkeypatch, owner, name):
    """Record arguments and results of every call of a method, which still runs."""
    calls, real = [], getattr(owner, name)

    def wrapper(*args, **kwargs):
        result = real(*args, **kwargs)
        calls.append((args, kwargs, result))
        return result

    monkeypatch.setattr(owner, name, wrapper)
    return calls


def term_sum(losses, *names):
    return sum(value for key, value in losses.items() if key in names or not names and "loss" in key)


@pytest.mark.parametrize("adjust", [True, False])
def test_constant_colours_show_that_each_branch_mixes_with_its_own_lam_and_partners(
    make, monkeypatch, adjust
):
    model = make(adjust_lam=adjust)
    colours = torch.tensor([-3.0, -1.5, 0.2, 1.0, 2.5, 4.0])
    images = colours.view(N, 1, 1, 1).expand(N, 3, 8, 8).clone()
    mixes, judged = spy(monkeypatch, model, "mix"), spy(monkeypatch, model, "embed_frozen")
    learned = spy(monkeypatch, model, "embed_queries")
    compared, blocked = spy(monkeypatch, model.head, "mixed"), spy(monkeypatch, model.head, "block_terms")
    masked = spy(monkeypatch, model.head, "mask_terms")
    model.loss([images, views()[1]], samples())
    (_, _, (network, network_mask)), (_, _, (block, block_mask)) = mixes
    assert not torch.equal(network.lam, block.lam)
    assert not torch.equal(network.permutation, block.permutation)
    # Inputs of the networks and arguments of the losses match.
    assert torch.equal(learned[1][0][0], network.images) and compared[0][0][3] is network
    assert torch.equal(judged[0][0][0], block.images) and blocked[0][0][4] is block
    assert masked[0][0][0] is block_mask and masked[0][0][1] is block.lam
    for mixed, mask in ((network, network_mask), (block, block_mask)):
        share = mask.mean((1, 2, 3))
        found = mixed.images.mean((1, 2, 3))
        torch.testing.assert_close(found, share * colours + (1 - share) * colours[mixed.permutation])
        different = mixed.permutation != torch.arange(N)
        assert different.any()
        if mixed is network and adjust:
            torch.testing.assert_close(share, network.lam)
        else:
            assert (share - mixed.lam).abs().max() > 0.05


def test_the_block_sees_maps_of_the_mixed_views_permuted_once(make, monkeypatch):
    model = make()
    key_backbone = copy.deepcopy(model.key_network.backbone)
    drawn, blocks = spy(monkeypatch, model, "draw"), spy(monkeypatch, model.mix_block, "forward")
    model.loss(views(), samples())
    with torch.no_grad():
        key_backbone(views()[1])  # the pass of the keys comes first, with its own batch statistics
        maps = stage_features(key_backbone, views()[0], 3)
    assert maps.shape == (N, 32, 2, 2) and len(blocks) == len(drawn) == 2
    for (args, _, mask), (_, _, (lam, permutation)) in zip(blocks, drawn, strict=True):
        features_i, features_j, given_lam, size = args
        torch.testing.assert_close(features_i, maps)
        torch.testing.assert_close(features_j, maps[permutation])
        assert torch.equal(given_lam, lam) and tuple(size) == (8, 8)
        assert not features_i.requires_grad
        assert mask.std() > 0.01


def test_losses_are_those_of_the_paper(make, monkeypatch):
    model = make(method="AMixC", labels=TRUTH, block_losses=("infonce", "bce", "ce", "pbce"))
    hand, labels = copy.deepcopy(model), samples()["labels"]
    mixes = spy(monkeypatch, model, "mix")
    losses = model.loss(views(), samples())
    (_, _, (network, _)), (_, _, (block, mask)) = mixes
    x_query, x_key = views()
    queue, t = hand.queues[0].features, 0.2

    def embed(backbone, neck, images):
        features = backbone(images)[-1].mean((2, 3))
        return features, unit_rows(neck((features,))[0])

    q = embed(hand.backbone, hand.neck, x_query)[1]
    features, k = (part.detach() for part in embed(hand.key_network.backbone, hand.key_network.neck, x_key))
    mixed_q = embed(hand.backbone, hand.neck, network.images)[1]
    # For the block the key network is in evaluation mode, after its passes of this step.
    judge = copy.deepcopy(model.key_network).eval()
    features_mix, z = embed(judge.backbone, judge.neck, block.images)
    logits, j = hand.label_source.classifier(features_mix), labels[block.permutation]
    ce = [F.cross_entropy(logits, target, reduction="none") for target in (labels, j)]
    expected = dict(
        loss_contrastive=info_nce(q, k, queue, temperature=t),
        loss_mixed=mixup_info_nce(mixed_q, k, k[network.permutation], queue, network.lam, temperature=t),
        loss_block_infonce=mixup_info_nce(z, k, k[block.permutation], queue, block.lam, temperature=t),
        loss_block_bce=mixup_bce(z, k, k[block.permutation], block.lam, temperature=t),
        loss_block_ce=(block.lam * ce[0] + (1 - block.lam) * ce[1]).mean(),
        loss_block_pbce=mixup_pbce(logits, labels, j, block.lam),
        loss_mask=0.1 * mask_loss(mask, block.lam),
        loss_classifier=F.cross_entropy(hand.label_source.classifier(features), labels),
    )
    assert {name for name in losses if name.startswith("loss")} == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_log_says_gamma_and_how_often_the_larger_source_is_found(make, monkeypatch):
    model = make()
    with torch.no_grad():
        model.mix_block.gamma.fill_(0.4)
    blocked = spy(monkeypatch, model.head, "block_terms")
    losses = model.loss(views(count=24), samples(24))
    (_, z, keys, _, mixed), *_ = blocked[0]
    hits = [
        float((z[n] @ keys[n] > z[n] @ keys[mixed.permutation[n]]) == (mixed.lam[n] > 0.5))
        for n in range(24)
        if abs(mixed.lam[n] - 0.5) > 0.2
    ]
    assert len(hits) > 3 and losses["larger_source_top1"] == pytest.approx(sum(hits) / len(hits))
    assert losses["gamma"] == pytest.approx(0.4) and not losses["gamma"].requires_grad


def test_the_block_is_compared_with_mixup_at_the_same_lam(make, monkeypatch):
    model = make()
    judged, blocked = spy(monkeypatch, model, "embed_frozen"), spy(monkeypatch, model.head, "block_terms")
    model.before_step(9, 10)
    losses = model.loss(views(), samples())
    (_, _, keys, _, mixed), x = blocked[0][0], views()[0]
    (images,), _, (_, z) = judged[1]
    lam, j = mixed.lam.view(-1, 1, 1, 1), mixed.permutation
    torch.testing.assert_close(images, lam * x + (1 - lam) * x[j])
    assert not z.requires_grad and losses["bce_minus_mixup"].abs() > 1e-4
    reference = mixup_bce(z, keys, keys[j], mixed.lam, temperature=0.2)
    torch.testing.assert_close(losses["bce_minus_mixup"], losses["loss_block_bce"] - reference)


def test_who_learns_from_which_term(make):
    model = make(method="AMixC", labels=PSEUDO, block_losses=("infonce", "bce", "ce", "pbce"))
    losses = model.loss(views(), samples())
    network = {name for name, _ in model.named_parameters() if name.startswith(("backbone", "neck"))}
    block = {name for name, _ in model.named_parameters() if name.startswith("mix_block")}
    classifier = {"label_source.classifier.weight", "label_source.classifier.bias"}
    for name, loss in losses.items():
        if not name.startswith("loss"):
            assert not loss.requires_grad, name
            continue
        model.zero_grad()
        loss.backward(retain_graph=True)
        learns = {key for key, weight in model.named_parameters() if weight.grad is not None}
        if "block" in name or name == "loss_mask":
            assert learns == block, name
            assert all(p.grad.abs().max() > 0 for p in model.mix_block.parameters()), name
        elif name == "loss_classifier":
            assert learns == classifier
        else:
            assert learns == network, name


def test_modes_and_requires_grad_are_put_back_exactly(make):
    model = make(method="AMixC", labels=TRUTH)
    model.key_network.backbone.layer1.eval()
    model.key_network.neck.fc0.weight.requires_grad_(True)
    model.label_source.classifier.bias.requires_grad_(False)
    modes = {name: part.training for name, part in model.named_modules()}
    wants = {name: weight.requires_grad for name, weight in model.named_parameters()}
    term_sum(model.loss(views(), samples())).backward()
    assert {name: part.training for name, part in model.named_modules()} == modes
    assert {name: weight.requires_grad for name, weight in model.named_parameters()} == wants
    assert all(weight.grad is None for weight in model.key_network.parameters())
    with pytest.raises(RuntimeError, match="stop"), frozen(model.key_network):
        raise RuntimeError("stop")
    assert {name: part.training for name, part in model.named_modules()} == modes
    assert {name: weight.requires_grad for name, weight in model.named_parameters()} == wants


def test_mixtures_leave_the_key_networks_running_statistics_alone(make):
    model = make()
    model.loss(views(), samples())
    backbone = model.key_network.backbone
    # The pass of the keys, and the pass of the feature maps through three of four stages.
    assert backbone.bn1.num_batches_tracked == backbone.layer3[0].bn1.num_batches_tracked == 2
    assert backbone.layer4[0].bn1.num_batches_tracked == model.key_network.neck.bn0.num_batches_tracked == 1
    assert model.backbone.bn1.num_batches_tracked == 2


@pytest.mark.parametrize("pipeline", ["cross", "same"])
def test_keys_of_the_mixtures_are_those_of_the_pipelines_views(make, monkeypatch, pipeline):
    model = make(pipeline=pipeline)
    hand = copy.deepcopy(model.key_network)
    compared, plain = spy(monkeypatch, model.head, "mixed"), spy(monkeypatch, model.head, "loss")
    blocked = spy(monkeypatch, model.head, "block_terms")
    model.loss(views(), samples())
    keys = {name: unit_rows(hand(view)[0]) for name, view in zip(("same", "cross"), views(), strict=True)}
    torch.testing.assert_close(compared[0][0][1], keys[pipeline])
    torch.testing.assert_close(blocked[0][0][2], keys[pipeline])
    torch.testing.assert_close(plain[0][0][1], keys["cross"])
    torch.testing.assert_close(model.queues[0].features[:N], keys["cross"])


@pytest.mark.parametrize("term", ["plain", "mixed"])
def test_a_weight_of_zero_leaves_its_term_and_its_pass_out(make, monkeypatch, term):
    model = make(head={f"{term}_weight": 0.0})
    passes = spy(monkeypatch, model, "embed_queries")
    losses = model.loss(views(), samples())
    assert len(passes) == 1
    assert f"loss_{dict(plain='contrastive', mixed='mixed')[term]}" not in losses
    assert {"loss_block_infonce", "loss_block_bce", "loss_mask"} <= losses.keys()


@pytest.mark.parametrize("labels", [TRUTH, PSEUDO])
def test_negatives_of_the_sources_labels_are_left_out(make, monkeypatch, labels):
    model = make(labels=labels, mask_labels=True, block_losses=("infonce",))
    assert "loss_classifier" not in model.loss(views(), samples())
    stored = model.label_queue.features[:, 0]
    if labels is TRUTH:
        assert stored.tolist() == [0, 1, 2, 0, 1, 2, -1, -1, -1]
    else:
        assert stored[:N].tolist() == model.cluster_bank.labels[:N].tolist()
    assert model.label_queue.pointer == model.queues[0].pointer == N
    own = model.label_source.labels_for(samples())
    blocked, before = spy(monkeypatch, model.head, "block_terms"), stored.clone()
    model.loss(views(seed=2), samples())
    (_, _, _, _, _, mixed), kwargs, _ = (None, *blocked[0][0]), blocked[0][1], None
    expected = [
        [float(entry) in (float(own[n]), float(own[mixed.permutation[n]])) for entry in before]
        for n in range(N)
    ]
    assert kwargs["excluded"].tolist() == expected


class SomeLabelled:
    labels, num_classes = [3, -1, 2, -1, 3, -1], 10


@pytest.mark.parametrize("name", ["ce", "pbce"])
def test_images_without_a_class_take_no_part_in_losses_by_class(make, monkeypatch, name):
    model = make("AMixC", labels=TRUTH, mask_labels=True, block_losses=(name, "infonce"))
    model.check_dataset(SomeLabelled)
    labels = torch.tensor(SomeLabelled.labels)
    batch = dict(indices=torch.arange(N), labels=labels)
    blocked, spied = spy(monkeypatch, model.head, "block_terms"), spy(monkeypatch, model.label_source, "loss")
    model.loss(views(), batch)
    losses = model.loss(views(seed=2), batch)
    (features, _), _ = spied[1][:2]
    logits = model.label_source.classifier(features)
    known = labels >= 0
    torch.testing.assert_close(losses["loss_classifier"], F.cross_entropy(logits[known], labels[known]))
    (*_, mixed), kwargs = blocked[1][:2]
    pairs = known & known[mixed.permutation]
    own, other = labels[pairs], labels[mixed.permutation][pairs]
    logits, lam = kwargs["logits"][pairs], mixed.lam[pairs]
    if name == "ce":
        terms = (F.cross_entropy(logits, target, reduction="none") for target in (own, other))
        expected = [lam * next(terms) + (1 - lam) * next(terms)]
    else:
        expected = [mixup_pbce(logits, own, other, lam)[None]] * bool((own != other).any())
    expected = torch.cat(expected).mean() if len(own) and expected else torch.zeros(())
    torch.testing.assert_close(losses[f"loss_block_{name}"], expected)
    # Entries without a class, and those that nothing was written to, are negatives of all.
    assert not kwargs["excluded"][:, [1, 3, 5, 6, 7, 8]].any()
    assert kwargs["excluded"][0, [0, 4]].all()


def test_labels_teach_the_classifier_alone():
    source = LabelSource(**TRUTH, in_channels=4, dim=2)
    features = torch.randn(N, 4, requires_grad=True)
    source.loss(features, samples()["labels"])["loss_classifier"].backward()
    assert features.grad is None and source.classifier.weight.grad.abs().max() > 0


@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("method", ["AMixI", "AMixC"])
def test_any_batch_size(make, method, count):
    model = make(method, lam_per="step", **(dict(labels=PSEUDO) if method == "AMixC" else {}))
    for seed in (1, 2):
        losses = model.loss(views(count, seed), samples(count))
        assert all(torch.isfinite(value) for value in losses.values())
        term_sum(losses).backward()


def test_defaults_are_the_papers(configure):
    model = build_model(configure("AMixC"))
    assert model.block_losses == ("ce", "bce") and model.label_source.num_classes == 200
    assert (model.alpha, model.momentum, model.feature_stage, model.adjust_lam) == (2.0, 0.999, 3, True)
    assert (model.head.mask_weight, model.head.temperature, model.pipeline) == (0.1, 0.2, "cross")
    assert model.mix_block.upsampling == "bilinear"
    lam, permutation = model.draw(5000, torch.device("cpu"))
    # Beta(2, 2): mean 1/2, variance 1/20.
    assert abs(lam.mean() - 0.5) < 0.02 and abs(lam.var() - 0.05) < 0.004
    assert torch.equal(permutation.sort().values, torch.arange(5000))
    model.lam_per = "step"
    assert len(model.draw(50, torch.device("cpu"))[0].unique()) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(pipeline="double"), "model.pipeline is 'double'"),
        (dict(block_losses=()), "model.block_losses is"),
        (dict(block_losses=("bce", "bce")), "each once"),
        (dict(block_losses=("mse",)), "ce, pbce, bce, infonce"),
        (dict(block_losses=("ce",)), "ce and pbce need model.labels"),
        (dict(mask_labels=True), "model.mask_labels=True needs model.labels"),
        (dict(alpha=0), "model.alpha is 0"),
        (dict(lam_per="epoch"), "model.lam_per is 'epoch'"),
        (dict(feature_stage=5), "model.feature_stage is 5; it must be from 1 to 4"),
        (dict(labels=dict(source="none", num_classes=3)), "model.labels.source is 'none'"),
        (dict(labels=dict(source="pseudo", num_classes=1)), "model.labels.num_classes is 1"),
        (dict(labels=dict(PSEUDO, momentum=1)), "model.labels.momentum is 1"),
        (dict(labels=dict(PSEUDO, interval=0)), "model.labels.interval is 0"),
        (dict(head=dict(mask_weight=-1)), "model.head.mask_weight is -1"),
        (dict(head=dict(plain_weight=0, mixed_weight=0)), "no loss is left"),
    ],
)
def test_bad_settings_name_the_key(configure, options, message):
    with pytest.raises(UserError, match=message):
        build_model(configure(**options))


def test_real_labels_must_be_there_and_fit(configure, tmp_path):
    config = configure("AMixC", labels=dict(TRUTH, num_classes=7))
    with pytest.raises(UserError, match="10 classes and model.labels.num_classes is 7"):
        pretrain(config, work_dir=tmp_path / "run")
    model = build_model(configure("AMixC", labels=TRUTH))
    with pytest.raises(ValueError, match="needs training images with one class each"):
        model.check_dataset(SimpleNamespace(labels=[-1, -1], num_classes=10))
    config = configure("AMixC", labels=dict(PSEUDO, num_classes=5000))
    with pytest.raises(UserError, match="5000 clusters of 1078 images"):
        pretrain(config, work_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    model = build_model(configure("AMixC", labels=PSEUDO))
    with pytest.raises(RuntimeError, match="set_dataset_size"):
        model.loss(views(), samples())
    with pytest.raises(ValueError, match="must give 'indices'"):
        model.loss(views(), dict(labels=torch.zeros(N)))


def test_a_resumed_run_has_the_same_queues_clusters_and_schedules(configure, tmp_path):
    config = configure(
        "AMixC",
        labels=dict(PSEUDO, interval=1),
        block_losses=("ce", "infonce"),
        mask_labels=True,
        mask_decay=True,
        momentum_schedule="cosine",
    )
    config.model.queue_size = 300
    config.train_dataloader.batch_size = 512
    config.custom_hooks = config.custom_hooks[:1]
    config.optim_wrapper.paramwise_cfg = dict(custom_keys=dict(mix_block=dict(lr_mult=0.5)))
    pretrain(config, work_dir=tmp_path / "whole")
    pretrain(config, work_dir=tmp_path / "cut", resume=tmp_path / "whole" / "epoch_1.pth")
    whole, cut = (read_checkpoint(tmp_path / run / "epoch_2.pth") for run in ("whole", "cut"))
    assert {group["initial_lr"] for group in whole["optimizer"]["param_groups"]} == {1e-3, 5e-4}
    torch.testing.assert_close(whole["optimizer"]["state"], cut["optimizer"]["state"], rtol=0, atol=0)
    whole, cut = whole["state_dict"], cut["state_dict"]
    assert whole.keys() == cut.keys()
    for name, value in whole.items():
        assert torch.equal(value, cut[name]), name
    first = read_checkpoint(tmp_path / "whole" / "epoch_1.pth")["state_dict"]
    assert (first["mask_scale"], whole["mask_scale"]) == (pytest.approx(0.5), pytest.approx(0, abs=1e-7))
    assert whole["label_queue.pointer"] == whole["queues.0.pointer"] == 4 * 512 % 300
    assert whole["label_source.bank.started"] == 1
    assert not torch.equal(first["label_source.bank.labels"], whole["label_source.bank.labels"])
