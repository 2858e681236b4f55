"""AMix and AutoMix: images, masks, λ and networks of each loss term, and gradient flow."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

from ssl_ext.apis import evaluate, pretrain
from ssl_ext.engine import load_weights, read_checkpoint
from ssl_ext.registry import MODELS

CHANNELS, CLASSES, COUNT = 8, 3, 5
# Exact in binary, so 1 − λ has no rounding error.
LAM1, LAM2 = torch.tensor([0.25, 0.75, 0.5, 0.875, 0.375]), torch.tensor([0.75, 0.125, 0.625, 0.25, 0.5])
ORDER1, ORDER2 = torch.tensor([1, 2, 0, 4, 3]), torch.tensor([3, 4, 1, 2, 0])
LABELS = torch.tensor([0, 1, 2, 2, 1])


def settings(model_type="AMix", **options):
    return dict(
        type=model_type,
        backbone=dict(
            type="ResNet_CIFAR",
            depth=18,
            out_indices=(3,),
            stem_channels=CHANNELS,
            base_channels=CHANNELS,
            zero_init_residual=False,
        ),
        head=dict(type="LinearClsHead", num_classes=CLASSES, in_channels=8 * CHANNELS),
        data_preprocessor=dict(type="MultiViewPreprocessor", mean=[0.5] * 3, std=[0.5] * 3),
        **dict(options, mix_block=dict(in_channels=4 * CHANNELS, **options.get("mix_block", {}))),
    )


def built(model_type="AMix", **options):
    """A model whose block, heads and EMA copy differ from their initialisation."""
    init_default_scope("ssl_ext")
    torch.manual_seed(0)
    model = MODELS.build(settings(model_type, **options))
    model.init_weights()
    with torch.no_grad():
        for part in (model.mix_block, model.head, model.mix_head, model.deployed.neck):
            for parameter in part.parameters():
                parameter.normal_(std=0.02 if part is model.mix_block else 0.1)
        if model.mix_block.gamma is not None:
            model.mix_block.gamma.fill_(0.6)
        for parameter in model.deployed.backbone.parameters():
            parameter.mul_(1.1)
        for name, buffer in model.named_buffers():
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
            if name.endswith("running_mean"):
                buffer.normal_(std=0.1)
    return model


def drawn(monkeypatch, model):
    """Fix the draws of a step: the classifier's branch first, then the block's."""
    draws = [(LAM1, ORDER1), (LAM2, ORDER2)]
    monkeypatch.setattr(model, "draw", lambda count, device: draws.pop(0))


def images(size=16):
    return torch.randn(COUNT, 3, size, size, generator=torch.Generator().manual_seed(1))


def samples():
    return dict(labels=LABELS)


def watched(module, seen):
    module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))


def terms_of(losses, *names):
    return sum(losses[name] for name in losses if name.startswith(names))


# Inputs of each loss term.


def test_constant_images_show_that_each_branch_mixes_by_its_own_draw(monkeypatch):
    """Image n has the constant value n², so every pixel shows the mixing coefficient."""
    model = built(adjust_lam=True)
    drawn(monkeypatch, model)
    colours = torch.arange(float(COUNT)).square()
    constant = colours.view(-1, 1, 1, 1).expand(COUNT, 3, 16, 16).clone()
    constant += 1e-3 * images()  # batch statistics need some variance
    seen_q, seen_k = [], []
    watched(model.backbone, seen_q)
    watched(model.deployed.backbone, seen_k)
    masks = []
    model.mix_block.register_forward_hook(lambda _, inputs, mask: masks.append(mask.detach()))
    model.loss([constant], samples())

    assert len(seen_q) == len(seen_k) == 2
    torch.testing.assert_close(seen_q[0], constant)
    torch.testing.assert_close(seen_k[0], constant)
    for mixed, order, mask in ((seen_q[1], ORDER1, None), (seen_k[1], ORDER2, masks[1])):
        own, other = constant, constant[order]
        coefficient = (mixed - other) / (own - other)
        assert coefficient.min() > -1e-3
        assert coefficient.max() < 1 + 1e-3
        if mask is None:  # adjusted: the mean of each mask is λ of this branch
            torch.testing.assert_close(coefficient.mean((1, 2, 3)), LAM1, rtol=0, atol=1e-3)
        else:
            torch.testing.assert_close(coefficient, mask.expand_as(mixed), rtol=0, atol=2e-3)
    assert (masks[0].mean((1, 2, 3)) - LAM1).abs().max() > 0.05  # without adjustment the means differ from λ


@pytest.mark.parametrize(
    "head",
    [{}, dict(losses=["ce", "pbce", "bce", "infonce"], mask_labels=True, temperature=0.5, mask_weight=0.7)],
    ids=["ce", "all"],
)
@pytest.mark.parametrize("adjust", [False, True])
def test_losses_equal_the_equations_sample_by_sample(monkeypatch, adjust, head):
    model = built(adjust_lam=adjust, block_head=head).double().eval()
    drawn(monkeypatch, model)
    x = images().double()
    found = model.loss([x], samples())
    q, k, heads = model.backbone, model.deployed.backbone, model.deployed.neck
    features, keys = k(x)[0], k(x)[1].mean((2, 3))

    def ce(logits, label):
        return -logits.log_softmax(0)[label]

    def mixture(n, lams, order, adjusted):
        lam, j = lams[n].double(), order[n]
        mask = model.mix_block(features[n : n + 1], features[j : j + 1], lam, size=(16, 16))[0, 0]
        if adjusted:
            mean = mask.mean()
            mask = mask * lam / mean if mean > lam else 1 - (1 - mask) * (1 - lam) / (1 - mean)
        return mask, mask * x[n] + (1 - mask) * x[j], lam, j

    expected = {name: 0.0 for name in found if name.startswith("loss")}
    pairs = sum(LABELS[n] != LABELS[ORDER2[n]] for n in range(COUNT))
    for n in range(COUNT):
        expected["loss_plain"] += ce(model.head((q(x[n : n + 1])[-1].mean((2, 3)),))[0], LABELS[n]) / COUNT
        _, mixed, lam, j = mixture(n, LAM1, ORDER1, adjust)
        logits = model.mix_head((q(mixed[None])[-1].mean((2, 3)),))[0]
        expected["loss_mix"] += (lam * ce(logits, LABELS[n]) + (1 - lam) * ce(logits, LABELS[j])) / COUNT

        mask, mixed, lam, j = mixture(n, LAM2, ORDER2, False)
        z = k(mixed[None])[-1].mean((2, 3))
        logits = heads["mix_head"]((z,))[0]
        own, other = LABELS[n], LABELS[j]
        expected["loss_block_ce"] += (lam * ce(logits, own) + (1 - lam) * ce(logits, other)) / COUNT
        mean = mask.mean()
        deviation = max((lam - mean).abs() - 0.1, torch.zeros(()))
        expected["loss_mask"] += (
            model.block_head.mask_weight * (deviation - (mask - mean).square().mean()) / COUNT
        )
        if not head:
            continue
        if own != other:
            two = logits[torch.stack([own, other])].log_softmax(0)
            expected["loss_block_pbce"] += -(lam * two[0] + (1 - lam) * two[1]) / pairs
        similarity = F.cosine_similarity(z, keys) / 0.5
        two = similarity[torch.tensor([n, j])].log_softmax(0)
        expected["loss_block_bce"] += -(lam * two[0] + (1 - lam) * two[1]) / COUNT
        negatives = [m for m in range(COUNT) if LABELS[m] not in (own, other)]
        for share, source in ((lam, n), (1 - lam, j)):
            rows = similarity[torch.tensor([source, *negatives])]
            expected["loss_block_infonce"] += -share * rows.log_softmax(0)[0] / COUNT
    assert {name for name in found if name.startswith("loss")} == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value.to(found[name]), rtol=0, atol=1e-9)


def test_figures_that_are_logged(monkeypatch):
    model = built()
    drawn(monkeypatch, model)
    masks = []
    model.mix_block.register_forward_hook(lambda _, inputs, mask: masks.append(mask.detach()))
    losses = model.loss([images()], samples())
    block_mask = masks[1].flatten(1)
    torch.testing.assert_close(losses["mask_deviation"], (block_mask.mean(1) - LAM2).abs().mean())
    torch.testing.assert_close(losses["mask_std"], block_mask.std(1).mean())


def blended(x, lam, order):
    lam = lam.to(x).view(-1, 1, 1, 1)
    return lam * x + (1 - lam) * x[order]


def test_the_block_is_compared_with_mixup_at_the_same_lam(monkeypatch):
    model = built(block_head=dict(losses=["bce"])).double().eval()
    model.before_step(9, 10)
    drawn(monkeypatch, model)
    x, lam, k = images().double(), LAM2.double(), model.deployed.backbone
    found = model.loss([x], samples())
    z, keys = (F.normalize(k(batch)[-1].mean((2, 3))) for batch in (blended(x, LAM2, ORDER2), x))
    own, other = torch.stack([(z * keys).sum(1), (z * keys[ORDER2]).sum(1)]).div(0.2).log_softmax(0)
    reference = -(lam * own + (1 - lam) * other).mean()
    torch.testing.assert_close(found["bce_minus_mixup"], found["loss_block_bce"] - reference)
    assert found["bce_minus_mixup"].abs() > 1e-4 and not found["bce_minus_mixup"].requires_grad
    model.before_step(10, 11)
    drawn(monkeypatch, model)
    assert "bce_minus_mixup" not in model.loss([x], samples())


@pytest.mark.parametrize("adjust", [False, True])
def test_the_control_has_a_constant_mask_and_the_same_draws(monkeypatch, adjust):
    states = []
    for constant in (False, True):
        model, seen, judged = built(constant_mask=constant, adjust_lam=adjust).train(), [], []
        model.before_step(9, 10)
        drawn(monkeypatch, model)
        watched(model.backbone, seen)
        watched(model.deployed.backbone, judged)
        torch.manual_seed(5)
        losses = model.loss([images()], samples())
        states.append(torch.get_rng_state())
    assert torch.equal(*states)  # the block's dropout draws too
    torch.testing.assert_close(seen[1], blended(images(), LAM1, ORDER1))
    torch.testing.assert_close(judged[1], blended(images(), LAM2, ORDER2))
    for name in ("mask_deviation", "mask_std", "bce_minus_mixup"):
        assert losses[name].abs() < 1e-6, name
    terms_of(losses, "loss").backward()
    assert all(g is not None and not g.any() for g in gradients(model.mix_block))
    torch.testing.assert_close(
        model.masks(images(), images()[ORDER1], LAM1), LAM1.view(-1, 1, 1, 1).expand(-1, 1, 16, 16)
    )


# Gradient flow, and state that must not change.


def gradients(part):
    return [parameter.grad for parameter in part.parameters()]


@pytest.mark.parametrize("model_type", ["AMix", "AutoMix"])
def test_each_branch_teaches_its_own_network_only(model_type):
    model = built(model_type, block_head=dict(losses=["ce", "bce", "infonce"])).train()
    learners = (model.backbone, model.head, model.mix_head)
    model_losses = model.loss([images()], samples())

    terms_of(model_losses, "loss_block", "loss_mask").backward(retain_graph=True)
    assert all(g is None for part in learners for g in gradients(part))
    assert all(g is None for g in gradients(model.deployed))
    assert all(g is not None and g.abs().max() > 0 for g in gradients(model.mix_block))

    model.zero_grad()
    terms_of(model_losses, "loss_plain", "loss_mix").backward()
    assert all(g is not None and g.abs().max() > 0 for part in learners for g in gradients(part))
    assert all(g is None for g in gradients(model.deployed))
    assert all(g is None for g in gradients(model.mix_block))


def test_the_judge_passes_a_gradient_through_its_activations(monkeypatch):
    """The block's gradient equals finite differences of the frozen copy's output."""
    model = built(block_head=dict(mask_weight=0)).double().eval()
    bias, values = model.mix_block.content[-1].bias, []
    for shift in (0.0, 1e-6, -1e-6):
        drawn(monkeypatch, model)
        with torch.no_grad():
            bias += shift
        loss = model.loss([images().double()], samples())["loss_block_ce"]
        if not values:
            (gradient,) = torch.autograd.grad(loss, bias)
        values.append(loss.item())
        with torch.no_grad():
            bias -= shift
    slope = (values[1] - values[2]) / 2e-6
    assert abs(slope) > 1e-4
    assert gradient.item() == pytest.approx(slope, rel=1e-4)


def modes(model):
    return [
        [part.training for part in model.modules()],
        [parameter.requires_grad for parameter in model.parameters()],
        [getattr(part, "track_running_stats", None) for part in model.modules()],
    ]


def test_modes_and_requires_grad_are_restored_even_after_an_error(monkeypatch):
    model = built().train()
    model.deployed.backbone.layer1.eval()  # a part that the user froze
    model.backbone.conv1.weight.requires_grad_(False)
    before = modes(model)
    model.loss([images()], samples())
    assert modes(model) == before

    def fail(*args):
        raise RuntimeError("judge")

    monkeypatch.setattr(model, "block_logits", fail)
    with pytest.raises(RuntimeError, match="judge"):
        model.loss([images()], samples())
    assert modes(model) == before
    assert not any(parameter.requires_grad for parameter in model.deployed.parameters())


def test_running_statistics_of_the_copy_are_those_of_its_pass_over_plain_images():
    model = built().train()
    twin = copy.deepcopy(model.deployed.backbone)
    model.loss([images()], samples())
    twin(images())
    for (name, found), expected in zip(model.deployed.backbone.named_buffers(), twin.buffers(), strict=True):
        assert torch.equal(found, expected), name
    assert model.backbone.bn1.num_batches_tracked == 2


def test_in_evaluation_mode_a_step_changes_nothing():
    model = built().eval()
    before = copy.deepcopy(model.state_dict())
    model.loss([images()], samples())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# Schedules.


def test_copy_and_mask_weight_follow_the_step():
    model = built(momentum=0.9, mask_decay=True)
    before = copy.deepcopy(model.deployed)
    model.after_step(6, 20)
    momentum = 1 - 0.1 * (math.cos(math.pi * 5 / 20) + 1) / 2
    given = [*model.backbone.parameters(), *model.head.parameters(), *model.mix_head.parameters()]
    for found, old, new in zip(model.deployed.parameters(), before.parameters(), given, strict=True):
        torch.testing.assert_close(found, momentum * old + (1 - momentum) * new)
    assert model.mask_scale.item() == pytest.approx((1 + math.cos(math.pi * 6 / 20)) / 2)
    model.after_step(20, 20)
    assert model.mask_scale == 0


def test_mask_weight_scales_the_mask_loss_and_stays_without_decay(monkeypatch):
    model = built().eval()
    model.after_step(15, 20)
    assert model.mask_scale == 1
    drawn(monkeypatch, model)
    whole = model.loss([images()], samples())["loss_mask"]
    model.mask_scale.fill_(0.25)
    drawn(monkeypatch, model)
    torch.testing.assert_close(model.loss([images()], samples())["loss_mask"], whole / 4)


def test_each_prediction_is_that_of_its_own_network_and_head():
    model = built().eval()
    predictions = model.logits(images())
    own, copied = (
        backbone(images())[-1].mean((2, 3)) for backbone in (model.backbone, model.deployed.backbone)
    )
    expected = dict(
        plain=model.head.fc(own),
        mix=model.mix_head.fc(own),
        plain_momentum=model.deployed.neck["head"].fc(copied),
        mix_momentum=model.deployed.neck["mix_head"].fc(copied),
    )
    assert predictions.keys() == expected.keys()
    for name, logits in expected.items():
        torch.testing.assert_close(predictions[name], logits)
    assert torch.equal(model(images()), predictions["plain_momentum"])


def test_copy_starts_equal_to_the_network_and_again_when_weights_were_loaded():
    init_default_scope("ssl_ext")
    model = MODELS.build(settings())
    model.init_weights()
    for found, new in zip(model.deployed.backbone.parameters(), model.backbone.parameters(), strict=True):
        assert torch.equal(found, new)
    torch.nn.init.ones_(model.head.fc.weight)
    model.sync_ema()
    assert torch.equal(model.deployed.neck["head"].fc.weight, model.head.fc.weight)


# Options.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(alpha=0), "model.alpha is 0; it must be above 0"),
        (dict(lam_per="batch"), "model.lam_per is 'batch'; allowed are sample, step"),
        (dict(feature_stage=5), "model.feature_stage is 5; it must be from 1 to 4"),
        (dict(momentum=2), "model.momentum is 2"),
        (dict(mix_block=dict(content="deep")), "mix_block.content is 'deep'"),
        (dict(block_head=dict(losses=["mse"])), r"model.block_head.losses is \['mse'\]; allowed are ce"),
        (dict(block_head=dict(losses=["ce", "ce"])), "each once"),
        (dict(block_head=dict(temperature=0)), "model.block_head.temperature is 0"),
        (dict(block_head=dict(margin=-1)), "model.block_head.margin is -1"),
    ],
)
def test_bad_options_are_named(options, message):
    init_default_scope("ssl_ext")
    with pytest.raises(ValueError, match=message):
        MODELS.build(settings(**options))


def test_draws_are_beta_per_sample_or_one_for_the_step():
    model, device = built(alpha=2.0), torch.device("cpu")
    lam, order = model.draw(20_000, device)
    assert lam.mean().item() == pytest.approx(0.5, abs=0.01)
    assert lam.var().item() == pytest.approx(0.05, abs=0.003)  # 1 / (4 (2 α + 1))
    assert torch.equal(order.sort().values, torch.arange(20_000))
    model.lam_per = "step"
    lam, _ = model.draw(4, device)
    assert lam.shape == (4,)
    assert lam.unique().numel() == 1


@pytest.mark.parametrize("stage", [1, 4])
def test_block_sees_the_stage_that_is_asked_for(stage):
    channels = CHANNELS * 2 ** (stage - 1)
    options = settings(feature_stage=stage)
    options["mix_block"]["in_channels"] = channels
    init_default_scope("ssl_ext")
    model = MODELS.build(options).train()
    seen = []
    watched(model.mix_block, seen)
    model.loss([images()], samples())
    assert seen[0].shape == (COUNT, channels, *[16 // 2 ** (stage - 1)] * 2)


def test_automix_is_amix_with_its_own_block_and_mask_loss():
    block = built("AutoMix").mix_block
    assert block.gamma is None
    assert isinstance(block.content, torch.nn.Conv2d)
    assert (block.attention, block.upsampling) == ("cross", "nearest")
    assert built("AutoMix").block_head.variance_weight == 0
    assert built().mix_block.upsampling == "bilinear"
    assert built().block_head.variance_weight == 1


def test_table_8_leads_from_automix_to_amix():
    """Each row of the table adds an option to AutoMix; all except λ adjusting make it AMix."""
    block = dict(lam_encoding="adaptive", content="nonlinear", attention="self", upsampling="bilinear")
    models = built(), built("AutoMix", mix_block=block, block_head=dict(variance_weight=1.0))
    losses = []
    for model in models:
        model.eval()
        torch.manual_seed(5)
        losses.append(model.loss([images()], samples()))
    assert losses[0] == losses[1]
    assert built("AutoMix", mix_block=dict(lam_encoding="adaptive")).mix_block.gamma is not None


def test_the_block_may_have_optimiser_settings_of_its_own():
    model = built()
    keys = dict(custom_keys=dict(mix_block=dict(lr_mult=0.1, decay_mult=0.0)))
    optimizer = dict(type="SGD", lr=1.0, weight_decay=0.5)
    wrapper = build_optim_wrapper(model, dict(type="OptimWrapper", optimizer=optimizer, paramwise_cfg=keys))
    own = {id(parameter) for parameter in model.mix_block.parameters()}
    for group in wrapper.param_groups:
        for parameter in group["params"]:
            mine = id(parameter) in own
            assert (group["lr"], group["weight_decay"]) == ((0.1, 0.0) if mine else (1.0, 0.5))


def test_clusters_teach_the_block_and_classes_the_classifier():
    model = built("AMixClusters", clusters=dict(num_classes=2, min_size=1)).train()
    with pytest.raises(RuntimeError, match="call set_dataset_size"):
        model.loss([images()], dict(labels=LABELS, indices=torch.arange(COUNT)))
    model.set_dataset_size(COUNT)
    with torch.no_grad():
        model.cluster_bank.start(model.embed_for_clusters(images()))
    data = dict(labels=LABELS, indices=torch.arange(COUNT))
    losses = model.loss([images()], data)
    assert {"loss_classifier", "label_changes", "loss_block_ce"} <= set(losses)
    terms_of(losses, "loss_block").backward(retain_graph=True)
    classifier = model.label_source.classifier
    assert all(g is None for g in gradients(classifier))
    assert any(g is not None for g in gradients(model.mix_block))
    terms_of(losses, "loss_classifier").backward()
    assert all(g is not None for g in gradients(classifier))
    assert all(g is None for g in gradients(model.backbone))
    # Other classes change the classifier's losses, but not the block's.
    model.eval()
    values = []
    for labels in (LABELS, 2 - LABELS):
        torch.manual_seed(3)
        values.append(model.loss([images()], dict(data, labels=labels)))
    assert values[0]["loss_block_ce"] == values[1]["loss_block_ce"]
    assert values[0]["loss_plain"] != values[1]["loss_plain"]
    bce = built("AMixClusters", clusters=dict(num_classes=2), block_head=dict(losses=["bce"]))
    assert bce.label_source.classifier is None


# Whole runs on digits.


@pytest.fixture
def amix_config(tiny_config):
    model = settings(momentum=0.8, mask_decay=True)
    model.pop("data_preprocessor")
    model["head"]["num_classes"] = 10
    tiny_config.model = model
    tiny_config.views = [dict(transforms=[dict(type="RandomCrop", size=8, padding=1)])]
    tiny_config.train_dataloader.batch_size = 100
    tiny_config.optim_wrapper = dict(
        type="OptimWrapper", optimizer=dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=1e-4)
    )
    tiny_config.custom_hooks = [dict(type="RandomStateHook"), dict(type="ClassifierEvaluationHook")]
    tiny_config.train_cfg.max_epochs = 4
    tiny_config.param_scheduler[0].T_max = 4
    return tiny_config


def test_learns_digits_resumes_exactly_and_is_deployed_as_the_copy(amix_config, tmp_path):
    whole = pretrain(amix_config, work_dir=tmp_path / "whole")
    state = read_checkpoint(tmp_path / "whole/epoch_4.pth")
    epochs = state["message_hub"]["runtime_info"]["classifier_epochs"]
    assert epochs[-1]["accuracy_plain"] > 0.5
    assert epochs[-1]["accuracy"] == epochs[-1]["accuracy_plain_momentum"] > 0.5

    # Killed after epoch 2: only epoch_2.pth is left.
    (tmp_path / "part").mkdir()
    (tmp_path / "part/epoch_2.pth").write_bytes((tmp_path / "whole/epoch_2.pth").read_bytes())
    resumed = pretrain(amix_config, work_dir=tmp_path / "part", resume=tmp_path / "part/epoch_2.pth")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert resumed.mask_scale == 0
    again = read_checkpoint(tmp_path / "part/epoch_4.pth")["message_hub"]["runtime_info"]
    for one, other in zip(epochs, again["classifier_epochs"], strict=True):
        assert {k: v for k, v in one.items() if "seconds" not in k} == {
            k: v for k, v in other.items() if "seconds" not in k
        }

    # Loading and evaluation use the copy.
    checkpoint = tmp_path / "whole/epoch_4.pth"
    model = MODELS.build(amix_config.model)
    assert "momentum network 'deployed.*'" in str(load_weights(model, checkpoint))
    plain = dict(type="ImageClassifier", backbone=amix_config.model.backbone, head=amix_config.model.head)
    classifier = MODELS.build(plain)
    load_weights(classifier, checkpoint)
    copied = whole.deployed.state_dict()
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(value, copied[f"backbone.{name}"])
    for name, value in classifier.state_dict().items():
        assert torch.equal(value, copied[name.replace("head.", "neck.head.")]), name
    (row,) = evaluate(amix_config, checkpoint, protocols=["knn"], out_dir=tmp_path / "evaluation")
    assert row.last["acc"] > 0.5
