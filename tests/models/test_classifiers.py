"""Plain classifiers, default layers of mixing policies, and backbones for small images."""

import pytest
import torch
import torchvision
from mmengine.registry import init_default_scope

from ssl_ext.detection.faster_rcnn import c4_stride
from ssl_ext.mixups import Mixed
from ssl_ext.models import ResNet_CIFAR_MaxPool, ResNeXt_CIFAR, ResNeXt_CIFAR_MaxPool
from ssl_ext.registry import MODELS


def build(model_type="ImageClassifier", classes=3, **options):
    init_default_scope("ssl_ext")
    torch.manual_seed(0)
    backbone = dict(type="ResNet_CIFAR", depth=18, out_indices=(3,), stem_channels=8, base_channels=8)
    head = dict(type="LinearClsHead", num_classes=classes, in_channels=64)
    return MODELS.build(dict(type=model_type, backbone=backbone, head=head, **options))


def test_loss_and_logits_are_those_of_backbone_and_head():
    model, images, labels = build().eval(), torch.randn(4, 3, 8, 8), torch.tensor([0, 2, 1, 1])
    logits = model.backbone(images)[-1].mean((2, 3)) @ model.head.fc.weight.T + model.head.fc.bias
    torch.testing.assert_close(model(images), logits)
    expected = -logits.log_softmax(1)[torch.arange(4), labels].mean()
    torch.testing.assert_close(
        model([images], dict(labels=labels), mode="loss")["loss_classification"], expected
    )
    with pytest.raises(ValueError, match="mode is 'predict'; allowed are 'loss' and 'tensor'"):
        model(images, mode="predict")


@pytest.mark.parametrize(("name", "layers"), [("cutmix", (0,)), ("manifoldmix", (0, 1, 2))])
def test_manifoldmix_acts_on_three_layers_and_all_others_on_images(name, layers):
    policy = dict(type="MixingPolicy", name=name)
    assert build("MixupClassifier", policy=policy).layers == layers
    assert build("MixupClassifier", policy=policy, layers=(1,)).layers == (1,)
    with pytest.raises(ValueError, match=r"model.layers is \(5,\); allowed are 0 \(the images\) to 4"):
        build("MixupClassifier", policy=policy, layers=(5,))


@pytest.mark.parametrize("layer", [0, 1, 4])
def test_images_or_maps_and_labels_are_mixed_alike(monkeypatch, layer):
    policy = dict(type="MixingPolicy", name="manifoldmix")
    model = build("MixupClassifier", policy=policy, layers=(layer,)).double().eval()
    lam, order = torch.tensor([0.25, 0.75, 0.5, 0.875]).double(), torch.tensor([2, 3, 1, 0])

    def mix(maps, **given):
        share = lam.view(-1, 1, 1, 1)
        return Mixed(share * maps + (1 - share) * maps[order], lam, order)

    monkeypatch.setattr(model.policy, "forward", mix)
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    labels = torch.tensor([0, 2, 1, 1])
    found = model.loss([images], dict(labels=labels))["loss_mix"]
    network = model.backbone
    stages = [torch.nn.Sequential(network.conv1, network.bn1, network.relu)]
    stages += [getattr(network, name) for name in network.res_layers]
    expected = 0.0
    for n in range(4):
        pair = torch.stack([images[n], images[order[n]]])
        for stage in stages[: layer + 1] if layer else ():
            pair = stage(pair)
        maps = (lam[n] * pair[0] + (1 - lam[n]) * pair[1])[None]
        for stage in stages[layer + 1 :] if layer else stages:
            maps = stage(maps)
        scores = model.head((maps.mean((2, 3)),))[0].log_softmax(0)
        expected -= (lam[n] * scores[labels[n]] + (1 - lam[n]) * scores[labels[order[n]]]) / 4
    torch.testing.assert_close(found, expected)


def test_a_policy_that_follows_the_gradient_leaves_statistics_and_gradients_alone():
    policy = dict(type="MixingPolicy", name="puzzlemix", transport_cell=0)
    model = build("MixupClassifier", policy=policy).train()
    before = {name: value.clone() for name, value in model.backbone.named_buffers()}
    model.mix(torch.randn(4, 3, 8, 8), torch.tensor([0, 2, 1, 1]))
    assert all(torch.equal(value, before[name]) for name, value in model.backbone.named_buffers())
    assert all(weight.grad is None for weight in model.parameters())
    assert all(part.training for part in model.modules())


@pytest.mark.parametrize(("name", "weight"), [("co_mixup", 1.0), ("mixup", 0.0), ("mixup", 0.5)])
def test_co_mixup_learns_from_the_plain_images_too(name, weight):
    given = {} if weight in (0.0, 1.0) else dict(plain_weight=weight)
    model = build("MixupClassifier", policy=dict(type="MixingPolicy", name=name), **given).train()
    images, labels = torch.randn(4, 3, 8, 8), torch.tensor([0, 2, 1, 1])
    expected = torch.nn.functional.cross_entropy(model.classify(images), labels)
    losses = model.loss([images], dict(labels=labels))
    assert losses.keys() == ({"loss_plain", "loss_mix"} if weight else {"loss_mix"})
    if weight:
        torch.testing.assert_close(losses["loss_plain"], weight * expected)
    with pytest.raises(ValueError, match="model.plain_weight is -1"):
        build("MixupClassifier", policy=dict(type="MixingPolicy", name=name), plain_weight=-1)


class Labelled:
    def __init__(self, labels, num_classes=3):
        self.labels, self.num_classes = labels, num_classes


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (Labelled([0, -1, 2]), "1 of 3 training images have no label"),
        (Labelled([[0, 1, 1]]), "several labels each"),
        (Labelled([0, 1], num_classes=2), "2 classes and model.head.num_classes is 3"),
    ],
)
def test_a_set_that_does_not_fit_is_named(dataset, message):
    build().check_dataset(Labelled([0, 1, 2]))
    with pytest.raises(ValueError, match=message):
        build().check_dataset(dataset)


def test_resnext_for_small_images_keeps_their_size_and_has_grouped_stages():
    network = ResNeXt_CIFAR(50, out_indices=(0, 2, 3))
    network.eval()  # which returns nothing
    assert (network.conv1.kernel_size, network.conv1.stride, network.conv1.groups) == ((3, 3), (1, 1), 1)
    assert {block.conv2.groups for layer in network.res_layers for block in getattr(network, layer)} == {32}
    with torch.no_grad():
        shapes = [tuple(maps.shape) for maps in network(torch.randn(1, 3, 16, 16))]
    assert shapes == [(1, 256, 16, 16), (1, 1024, 4, 4), (1, 2048, 2, 2)]


@pytest.mark.parametrize(
    ("ours", "name"), [(ResNet_CIFAR_MaxPool(18), "resnet18"), (ResNeXt_CIFAR_MaxPool(50), "resnext50_32x4d")]
)
def test_small_stem_with_pooling_is_torchvisions_network_with_another_first_convolution(ours, name):
    theirs = getattr(torchvision.models, name)()
    theirs.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
    theirs.fc = torch.nn.Identity()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 64, 64)
    ours.eval(), theirs.eval()
    with torch.no_grad():
        (maps,) = ours(images)
        torch.testing.assert_close(maps.mean((2, 3)), theirs(images))
    assert maps.shape[2:] == (4, 4) and c4_stride(ours) == 8
