"""MMPretrain's own algorithms train on this project's views and monitor, named with its scope.

Without the scope these names mean this project's classes.
"""

import pytest

from ssl_ext.apis import build_model, evaluate, pretrain

WIDTH = 64
PROJECTOR = dict(
    type="NonLinearNeck",
    in_channels=WIDTH,
    hid_channels=32,
    out_channels=16,
    num_layers=2,
    with_avg_pool=True,
    with_last_bn=False,
    norm_cfg=dict(type="BN1d"),
)
PREDICTOR = {**PROJECTOR, "in_channels": 16, "with_avg_pool": False}
CONTRASTIVE = dict(type="ContrastiveHead", loss=dict(type="CrossEntropyLoss"), temperature=0.1)
PREDICTIVE = dict(type="LatentPredictHead", loss=dict(type="CosineSimilarityLoss"), predictor=PREDICTOR)
ALGORITHMS = {
    "SimCLR": dict(head=CONTRASTIVE),
    "MoCo": dict(queue_len=512, feat_dim=16, momentum=0.01, head=CONTRASTIVE),
    "BYOL": dict(head=PREDICTIVE),
    "SimSiam": dict(head=PREDICTIVE),
}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_trains_and_is_evaluated(name, tiny_config, tmp_path):
    tiny_config.model = dict(
        type=f"mmpretrain.{name}", backbone=tiny_config.model.backbone, neck=PROJECTOR, **ALGORITHMS[name]
    )
    tiny_config.train_cfg.max_epochs = 1
    trained = pretrain(tiny_config, work_dir=tmp_path)
    assert type(trained).__module__.startswith("mmpretrain.models.")
    (row,) = evaluate(tiny_config, tmp_path / "epoch_1.pth", protocols=["knn"])
    assert row.last["acc"] > 0.3


@pytest.mark.parametrize("name", ["SimCLR", "MoCo"])
def test_without_the_scope_a_name_is_the_local_class(name, tiny_config):
    tiny_config.model.update(type=name, head=dict(type=f"{name}Head"))
    assert type(build_model(tiny_config)).__module__.startswith("ssl_ext.models.")
