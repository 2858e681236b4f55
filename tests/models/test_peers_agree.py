"""With equal weights and views this project, lightly and MMPretrain give equal losses and gradients."""

import copy

import pytest
import torch
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS as MMPRETRAIN

from ssl_ext.apis import build_model

pytest.importorskip("lightly")
from benchmarks.peers import peers_config  # noqa: E402
from benchmarks.peers_lightly import ALGORITHMS  # noqa: E402
from benchmarks.peers_mmpretrain import mmpretrain_model  # noqa: E402
from benchmarks.workload import Workload  # noqa: E402

# Factor and offset from this project's loss to lightly's and to MMPretrain's. BYOL has two cosines: the sum
# of 2 - 2 cos here, half the sum of -cos in lightly, the sum of -2 cos in MMPretrain.
SCALES = {
    "SimCLR": ((1, 0), (1, 0)),
    "BarlowTwins": ((1, 0), (1, 0)),
    "MoCo": ((1, 0), (1, 0)),
    "BYOL": ((0.25, -1), (1, -4)),
}


def trained(model):
    return [p for p in model.parameters() if p.requires_grad]


def loss_and_gradients(loss, model):
    return loss.detach(), torch.autograd.grad(loss, trained(model))


@pytest.mark.parametrize("model_type", SCALES)
def test_equal_weights_and_views_give_equal_losses(peer_config, model_type):
    config = peers_config(peer_config(model_type), None, 8)
    ours = build_model(copy.deepcopy(config))
    lightly = ALGORITHMS[model_type](config.model)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        mmpretrain = MMPRETRAIN.build(mmpretrain_model(Workload(config, 8, 8, 1)))
    for peer in (lightly, mmpretrain):
        for source, target in zip(trained(ours), trained(peer), strict=True):
            assert source.shape == target.shape
            target.data.copy_(source)
    if ours.ema_networks():
        ours.sync_ema()
        lightly.backbone_momentum.load_state_dict(lightly.backbone.state_dict())
        lightly.projection_head_momentum.load_state_dict(lightly.projection_head.state_dict())
    if model_type == "MoCo":
        queue = torch.nn.functional.normalize(torch.randn_like(ours.queues[0].features), dim=1)
        ours.queues[0].features.copy_(queue)
        lightly.criterion.memory_bank.bank = queue.clone()
        mmpretrain.queue.copy_(queue.T)
    # Running statistics, which are equal in all: MMPretrain's SimCLR mixes the batch statistics of the views.
    # The batch norm of its Barlow Twins head is the standardisation of the loss and stays in training mode.
    for model in (ours, lightly, mmpretrain):
        model.eval()
    mmpretrain.head.train(model_type == "BarlowTwins")
    views = list(torch.randn(2, 8, 3, 8, 8))
    terms = ours.loss(views, None)
    total = sum(value for name, value in terms.items() if name.startswith("loss"))
    loss, gradients = loss_and_gradients(total, ours)
    largest = max(float(gradient.abs().max()) for gradient in gradients)
    peers = (lightly(*views), lightly), (mmpretrain.loss(views, None)["loss"], mmpretrain)
    for peer, (factor, offset) in zip(peers, SCALES[model_type], strict=True):
        theirs, their_gradients = loss_and_gradients(*peer)
        torch.testing.assert_close(theirs, factor * loss + offset, rtol=1e-4, atol=1e-5)
        for gradient, expected in zip(their_gradients, gradients, strict=True):
            torch.testing.assert_close(gradient, factor * expected, rtol=1e-3, atol=1e-4 * largest)
