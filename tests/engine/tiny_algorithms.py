"""A very small run of every registered algorithm, and the one place where they are all listed."""

import copy

import numpy as np
from mmengine.config import Config
from mmengine.model import BaseModel

IMAGES, BATCH, EPOCHS = 48, 16, 2
STEPS = IMAGES // BATCH * EPOCHS
WIDTH, DIM = 4, 8
BACKBONE = dict(
    type="ResNet_CIFAR",
    depth=18,
    num_stages=2,
    strides=(1, 2),
    dilations=(1, 1),
    out_indices=(1,),
    stem_channels=WIDTH,
    base_channels=WIDTH,
    zero_init_residual=False,
)
NECK = dict(
    type="NonLinearNeck",
    in_channels=2 * WIDTH,
    hid_channels=DIM,
    out_channels=DIM,
    num_layers=2,
    with_avg_pool=False,
    with_last_bn=False,
    norm_cfg=dict(type="BN1d"),
)
TWO_NECKS = dict(NECK, type="BiProjector")
PREDICTION = dict(
    neck=NECK, predictor=dict(NECK, in_channels=DIM), head=dict(type="CosineRegressionHead"), momentum=0.9
)
QUEUE = dict(neck=NECK, queue_size=20, momentum=0.9)  # no multiple of the batch
BLOCK = dict(mix_block=dict(in_channels=WIDTH), feature_stage=1)
PSEUDO = dict(source="pseudo", num_classes=3, interval=2)
CLASSIFIER = dict(head=dict(type="LinearClsHead", num_classes=10, in_channels=2 * WIDTH))


def cutmix(**options):
    return dict(type="MixingPolicy", name="cutmix", **options)


# Registered name, or name and variant: what the model's config has besides its type and backbone. States
# of every kind are there: EMA, queues, banks, clusters, frozen phases, schedules that depend on the step.
ALGORITHMS = {
    "AMix": dict(CLASSIFIER, **BLOCK, momentum=0.9, mask_decay=True),
    "AMix-schedule": dict(CLASSIFIER, **BLOCK, momentum=0.9, momentum_schedule="cosine", adjust_lam=True),
    "AMixC": dict(QUEUE, **BLOCK, labels=PSEUDO, head=dict(type="AMixHead"), mask_decay=True),
    "AMixClusters": dict(CLASSIFIER, **BLOCK, momentum=0.9, clusters=dict(num_classes=3, interval=2)),
    "AMixI": dict(QUEUE, **BLOCK, head=dict(type="AMixHead")),
    "AutoMix": dict(CLASSIFIER, **BLOCK, momentum=0.9),
    "BSIM": dict(QUEUE, head=dict(type="MixMoCoHead")),
    "BYOL": PREDICTION,
    "BarlowTwins": dict(neck=NECK, head=dict(type="BarlowTwinsHead")),
    "Cross": PREDICTION,
    "IMix": dict(QUEUE, head=dict(type="IMixHead")),
    "ImageClassifier": CLASSIFIER,
    "JaccardMoCo": dict(QUEUE, neck=TWO_NECKS, head=dict(type="JaccardHead")),
    "JaccardSimCLR": dict(neck=TWO_NECKS, head=dict(type="JaccardHead")),
    "MixMoCo": dict(QUEUE, head=dict(type="MixMoCoHead"), policy=cutmix(alpha=1.0)),
    "MixMoCo-clusters": dict(
        QUEUE,
        head=dict(type="MixMoCoHead"),
        policy=dict(type="MixingPolicy", name="puzzlemix"),
        labels=PSEUDO,
        pipeline="same",
    ),
    "MixupClassifier": dict(CLASSIFIER, policy=cutmix(prob=0.5)),
    "MixupClassifier-features": dict(CLASSIFIER, policy=dict(type="MixingPolicy", name="manifoldmix")),
    "MoCHi": dict(QUEUE, head=dict(type="MoCHiHead", num_hard=8, num_mixed=4, num_with_query=2)),
    "MoCo": dict(QUEUE, head=dict(type="MoCoHead")),
    "ODC": dict(
        neck=NECK, head=dict(type="ODCHead", in_channels=DIM, num_clusters=3), min_size=2, interval=2
    ),
    "PIRL-jigsaw": dict(neck=NECK, pretext="jigsaw", head=dict(type="PIRLHead", num_negatives=8)),
    "PIRL-rotation": dict(neck=NECK, pretext="rotation", head=dict(type="PIRLHead", num_negatives=8)),
    "SimCLR": dict(neck=NECK, head=dict(type="SimCLRHead")),
    "SimSiam": {key: value for key, value in PREDICTION.items() if key != "momentum"},
    "SwAV": dict(
        neck=NECK,
        head=dict(type="SwAVHead", in_channels=DIM, num_prototypes=5),
        freeze_prototypes_steps=3,
    ),
    "TriBYOL": dict(PREDICTION, momentum_schedule="cosine"),
    "TriBYOL-all": dict(PREDICTION, target_update="all"),
    "TriMix": dict(neck=NECK, head=dict(type="TriMixHead")),
    "TriMix-epoch": dict(neck=NECK, head=dict(type="TriMixHead"), lam_per="epoch"),
    "UnMix": dict(QUEUE, head=dict(type="MixMoCoHead")),
    "VICReg": dict(neck=NECK, head=dict(type="VICRegHead")),
}
VIEWS = {"ODC": 1, "PIRL": 1, "TriBYOL": 3}
# Registered, and not trained here: why.
ELSEWHERE = {
    "FasterRCNN": "tests/detection/test_detector_training.py",
    "PlainBackbone": "refuses to be trained",
}


def registered_algorithms():
    """Names of every model of this project that a runner could train."""
    import ssl_ext.detection  # noqa: F401
    import ssl_ext.models  # noqa: F401
    from ssl_ext.registry import MODELS

    return {name for name, found in MODELS.module_dict.items() if issubclass(found, BaseModel)}


def write_images(path):
    """A file of few images with classes that differ in colour; there is a validation split."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", IMAGES), ("val", 20), ("test", 20)):
        labels = np.arange(count) % 10
        noise = rng.integers(0, 120, (count, 8, 8, 3))
        arrays[f"x_{split}"] = (noise + 13 * labels[:, None, None, None]).astype(np.uint8)
        arrays[f"y_{split}"] = labels
    np.savez(path, **arrays)


def tiny_run(case, images, *, world=1):
    """Config of two epochs of three steps of an algorithm; a checkpoint after every step.

    Every hook that keeps a state takes part, and the batch is shared out over ``world`` processes.
    """
    model = copy.deepcopy(ALGORITHMS[case])
    name = case.partition("-")[0]
    views = 1 if model["head"] == CLASSIFIER["head"] else VIEWS.get(name, 2)
    dataset = dict(type="NPZDataset", data_root=str(images))
    return Config(
        dict(
            default_scope="ssl_ext",
            randomness=dict(seed=0),
            data_preprocessor=dict(mean=[0.5] * 3, std=[0.5] * 3),
            views=[
                dict(
                    repeats=views,
                    transforms=[
                        dict(type="RandomResizedCrop", scale=(0.5, 1.0)),
                        dict(type="ColorJitter", brightness=0.4, contrast=0.4, p=0.8),
                    ],
                )
            ],
            model=dict(type=name, backbone=dict(BACKBONE), **model),
            train_dataloader=dict(
                batch_size=BATCH // world,
                num_workers=0,
                sampler=dict(type="DefaultSampler", shuffle=True),
                collate_fn=dict(type="collate_batch"),
                drop_last=True,
                dataset=dict(dataset, split="train"),
            ),
            evaluation_dataset=dataset,
            evaluation=dict(batch_size=32, knn=dict(k=5, temperature=0.1)),
            optim_wrapper=dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=1e-3)),
            param_scheduler=[
                dict(type="CosineAnnealingLR", T_max=EPOCHS, by_epoch=True, convert_to_iter_based=True)
            ],
            train_cfg=dict(by_epoch=True, max_epochs=EPOCHS),
            default_hooks=dict(
                runtime_info=dict(type="TrainLogHook"),
                logger=dict(type="LoggerHook", interval=2),
                checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=1, max_keep_ckpts=2),
            ),
            custom_hooks=[
                dict(type="RandomStateHook"),
                dict(type="FeatureMonitorHook", interval=1),
                dict(type="OnlineProbeHook"),
            ],
        )
    )
