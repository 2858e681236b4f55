"""VICReg, SwAV and PIRL: inputs of each network, state changes, and whole runs."""

import copy

import pytest
import torch
import torch.nn.functional as F

from ssl_ext.apis import build_model, evaluate, pretrain
from ssl_ext.engine import read_checkpoint
from ssl_ext.losses import nce_terms, pirl_terms, swapped_prediction_loss, vicreg_terms
from ssl_ext.models.heads import PIRLHead, SwAVHead, VICRegHead
from ssl_ext.models.utils.pretext import draw_patches, rotate, shuffle_and_join

MODELS = {
    "VICReg": dict(head=dict(type="VICRegHead")),
    "SwAV": dict(head=dict(type="SwAVHead", in_channels=16, num_prototypes=7)),
    "PIRL-jigsaw": dict(pretext="jigsaw", head=dict(type="PIRLHead", num_negatives=64)),
    "PIRL-rotation": dict(pretext="rotation", head=dict(type="PIRLHead", num_negatives=64)),
}


def configure(config, name, **changes):
    """Configure the tiny run for one of ``MODELS``; ``head`` updates the head."""
    keys = copy.deepcopy(MODELS[name])
    keys["head"].update(changes.pop("head", {}))
    config.model = dict(
        type=name.split("-")[0], backbone=config.model.backbone, neck=config.model.neck, **keys, **changes
    )
    config.views[0].repeats = 1 if name.startswith("PIRL") else 2
    return config


@pytest.fixture
def make(tiny_config):
    """Build one of the models in training mode; PIRL with a bank of 20 images."""

    def build(name, **changes):
        torch.manual_seed(0)
        model = build_model(configure(tiny_config, name, **changes)).train()
        if name.startswith("PIRL"):
            model.set_dataset_size(20)
        return model

    return build


def images(*count, size=8):
    return torch.randn(*count, 3, size, size, generator=torch.Generator().manual_seed(1))


def embed(model, neck, x):
    return neck((model.backbone(x)[-1].mean((2, 3)),))[0]


def test_vicreg_is_the_weighted_terms_of_two_separate_passes(make):
    model = make("VICReg", head=dict(invariance_weight=3.0, variance_weight=2.0, covariance_weight=0.5))
    by_hand = copy.deepcopy(model)
    terms = vicreg_terms(*(embed(by_hand, by_hand.neck, view) for view in images(2, 6)))
    losses = model.loss(list(images(2, 6)))
    names = ("loss_invariance", "loss_variance", "loss_covariance")
    assert list(losses) == list(names)
    for name, weight, term in zip(names, (3, 2, 0.5), terms, strict=True):
        torch.testing.assert_close(losses[name], weight * term)


def test_swav_compares_embeddings_with_unit_prototypes_and_takes_small_crops(make):
    model = make("SwAV", head=dict(temperature=0.2, epsilon=0.1, sinkhorn_iterations=2))
    model.head.prototypes.data.mul_(torch.rand(7, 1) * 5)
    before = model.head.prototypes.detach().clone()
    by_hand = copy.deepcopy(model)
    inputs = [*images(2, 6), *images(2, 6, size=4)]
    unit = F.normalize(by_hand.head.prototypes, dim=1)
    scores = [F.normalize(embed(by_hand, by_hand.neck, x), dim=1) @ unit.T for x in inputs]
    expected = swapped_prediction_loss(*scores, temperature=0.2, epsilon=0.1, iterations=2)
    losses = model.loss(inputs)
    assert list(losses) == ["loss_swapped_prediction"]
    torch.testing.assert_close(losses["loss_swapped_prediction"], expected)
    losses["loss_swapped_prediction"].backward()
    expected.backward()
    torch.testing.assert_close(model.head.prototypes.grad, by_hand.head.prototypes.grad)
    assert all(p.grad.abs().max() > 0 for p in model.parameters())
    assert torch.equal(model.head.prototypes, before)
    with pytest.raises(ValueError, match="two views or more, got 1: change views"):
        model.loss(inputs[:1])


def test_swav_prototypes_stay_for_the_first_steps(make):
    model = make("SwAV", freeze_prototypes_steps=2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    seen = [model.head.prototypes.detach().clone()]
    for step in range(1, 5):
        optimizer.zero_grad()
        model.loss(list(images(2, 6)))["loss_swapped_prediction"].backward()
        assert model.neck.fc2.weight.grad.abs().max() > 0
        optimizer.step()
        model.after_step(step, 4)
        seen.append(model.head.prototypes.detach().clone())
    moved = [not torch.equal(a, b) for a, b in zip(seen, seen[1:], strict=False)]
    assert moved == [False, False, True, True]
    resumed = make("SwAV", freeze_prototypes_steps=2)
    resumed.load_state_dict(model.state_dict())
    resumed.loss(list(images(2, 6)))["loss_swapped_prediction"].backward()
    assert resumed.head.prototypes.grad.abs().max() > 0


def transformed_by_hand(model, x):
    """PIRL's second branch, with the draws of the global generator in the model's order."""
    if model.pretext == "rotation":
        return embed(model, model.transform_neck, rotate(x, torch.randint(4, (len(x),))))
    patches = embed(model, model.transform_neck, draw_patches(x))
    order = torch.rand(len(x), 9).argsort(1)
    return F.linear(shuffle_and_join(patches, order), model.join_patches.weight, model.join_patches.bias)


@pytest.mark.parametrize("name", ["PIRL-jigsaw", "PIRL-rotation"])
def test_pirl_contrasts_image_and_transformed_image_with_the_bank(make, name):
    model = make(name, bank_momentum=0.25, head=dict(weight=0.3, temperature=0.5, num_negatives=8))
    by_hand, x, indices = copy.deepcopy(model), images(6, size=9), torch.tensor([4, 0, 19, 7, 4, 1])
    torch.manual_seed(3)
    losses = model.loss([x], dict(indices=indices))
    torch.manual_seed(3)
    z_image, z_transformed = embed(by_hand, by_hand.neck, x), transformed_by_hand(by_hand, x)
    memories, drawn = by_hand.bank.features, torch.randperm(20)[:8]
    transformed, image, top1 = pirl_terms(
        z_image,
        z_transformed,
        memories[indices],
        memories[drawn],
        excluded=torch.tensor([[int(i) == int(j) for j in drawn] for i in indices]),
        temperature=0.5,
    )
    expected = dict(loss_transformed=0.3 * transformed, loss_image=0.7 * image, positive_top1=top1)
    assert losses.keys() == expected.keys()
    for key in expected:
        torch.testing.assert_close(losses[key], expected[key])
    (losses["loss_transformed"] + losses["loss_image"]).backward()
    assert all(p.grad.abs().max() > 0 for p in model.parameters())
    by_hand.bank.update(indices, z_image)
    torch.testing.assert_close(model.bank.features, by_hand.bank.features)


def test_pirl_draws_another_order_for_each_image(make):
    model, x = make("PIRL-jigsaw").eval(), images(1, size=9).expand(64, -1, -1, -1)
    with torch.no_grad():
        z = model.embed_transformed(x)
    assert len(z.unique(dim=0)) > 60
    assert model.embed_transformed(images(5, size=10)).shape == (5, 16)


def test_pirl_negatives_are_the_other_images(make):
    model, z = make("PIRL-rotation", head=dict(num_negatives=1000)), torch.randn(3, 16)
    indices = torch.tensor([2, 11, 2])
    losses = model.head.loss(z, z, model.bank.features, indices)
    alone = [
        nce_terms(
            z[[i]],
            model.bank.features[[index]],
            model.bank.features[[j for j in range(20) if j != index]],
        )[0]
        for i, index in enumerate(indices.tolist())
    ]
    torch.testing.assert_close(losses["loss_image"], 0.5 * torch.stack(alone).mean())


def test_pirl_changes_its_bank_in_training_mode_only(make):
    model = make("PIRL-rotation")
    before = model.bank.features.clone()
    model.eval().loss([images(4)], dict(indices=torch.arange(4)))
    assert torch.equal(model.bank.features, before)
    model.train().loss([images(4)], dict(indices=torch.arange(4)))
    assert (model.bank.features != before).any(1).tolist() == [True] * 4 + [False] * 16


@pytest.mark.parametrize("name", ["PIRL-jigsaw", "PIRL-rotation"])
def test_pirl_running_statistics_are_those_of_the_images(make, name):
    model, alone = make(name).train(), make(name).train()
    alone.load_state_dict(model.state_dict())
    batch = images(8)
    model.loss([batch], dict(indices=torch.arange(8)))
    alone.extract_embedding(batch)
    seen = dict(model.backbone.named_buffers())
    assert any("running_var" in key for key in seen)
    for key, buffer in alone.backbone.named_buffers():
        assert torch.equal(seen[key], buffer), key
    assert all(m.track_running_stats for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d))


def test_pirl_says_what_it_lacks(make):
    model, data = make("PIRL-rotation"), dict(indices=torch.arange(4))
    for samples in (None, {}, dict(labels=torch.zeros(4)), dict(indices=None)):
        with pytest.raises(ValueError, match=r"needs data_samples\['indices'\]"):
            model.loss([images(4)], samples)
    with pytest.raises(IndexError, match="from 1 to 20 reached a memory bank of 20 images"):
        model.before_step(1, 1, dict(indices=torch.tensor([1, 20])))
    model.bank = None
    with pytest.raises(RuntimeError, match="no memory bank: call set_dataset_size"):
        model.loss([images(4)], data)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("PIRL-jigsaw", dict(pretext="colour"), "model.pretext is 'colour'; allowed are 'jigsaw' and 'rot"),
        ("PIRL-jigsaw", dict(bank_momentum=1.0), "model.bank_momentum is 1.0"),
        (
            "SwAV",
            dict(freeze_prototypes_steps=-1),
            "model.freeze_prototypes_steps is -1; it must be at least 0",
        ),
    ],
)
def test_bad_model_settings_are_named(tiny_config, name, changes, message):
    config = configure(tiny_config, name)
    config.model.update(changes)
    with pytest.raises(ValueError, match=message):
        build_model(config)


def test_a_neck_without_a_size_is_refused(tiny_config):
    config = configure(tiny_config, "PIRL-rotation")
    config.model.neck = dict(type="GlobalAveragePooling")
    with pytest.raises(ValueError, match="model.neck has no out_channels"):
        build_model(config)


@pytest.mark.parametrize(
    ("head", "options", "message"),
    [
        (VICRegHead, dict(variance_weight=-1), "model.head.variance_weight is -1; it must be 0 or more"),
        (SwAVHead, dict(in_channels=4, num_prototypes=1), "num_prototypes is 1; it must be at least 2"),
        (SwAVHead, dict(in_channels=0, num_prototypes=4), "in_channels is 0; it must be at least 1"),
        (SwAVHead, dict(in_channels=4, num_prototypes=4, epsilon=0), "model.head.epsilon is 0"),
        (SwAVHead, dict(in_channels=4, num_prototypes=4, temperature=-1), "model.head.temperature is -1"),
        (SwAVHead, dict(in_channels=4, num_prototypes=4, sinkhorn_iterations=0), "sinkhorn_iterations is 0"),
        (PIRLHead, dict(temperature=0), "model.head.temperature is 0"),
        (PIRLHead, dict(weight=1.5), "model.head.weight is 1.5; it must be between 0 and 1"),
        (PIRLHead, dict(num_negatives=1), "model.head.num_negatives is 1; it must be at least 2"),
    ],
)
def test_bad_head_settings_are_named(head, options, message):
    with pytest.raises(ValueError, match=message):
        head(**options)


@pytest.mark.parametrize("name", ["PIRL-rotation", "SwAV"])
def test_a_resumed_run_equals_a_whole_one_and_is_evaluated(tiny_config, tmp_path, name):
    changes = dict(freeze_prototypes_steps=3) if name == "SwAV" else {}
    config = configure(tiny_config, name, **changes)
    config.custom_hooks = config.custom_hooks[:1]
    config.train_dataloader.batch_size = 512
    pretrain(config, work_dir=tmp_path / "whole")
    pretrain(config, work_dir=tmp_path / "cut", resume=tmp_path / "whole" / "epoch_1.pth")
    whole, cut = (read_checkpoint(tmp_path / run / "epoch_2.pth")["state_dict"] for run in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[key], cut[key]) for key in whole)
    first = read_checkpoint(tmp_path / "whole" / "epoch_1.pth")["state_dict"]
    if name == "SwAV":
        assert (first["steps"], whole["steps"]) == (2, 4)
        assert not torch.equal(first["head.prototypes"], whole["head.prototypes"])
    else:
        assert whole["bank.features"].shape == (1078, 16)  # the images of the train split
        assert not torch.equal(first["bank.features"], whole["bank.features"])
    (row,) = evaluate(config, tmp_path / "cut" / "epoch_2.pth", protocols=["knn"])
    assert row.last["acc"] > 0.3
