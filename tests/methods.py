"""One row for each method of this project, and a very small run of it; all harnesses read them."""

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import bytes_per_step as per_step
import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import BaseModel

from ssl_ext.mixups import Mixed

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


ALL_BLOCK_LOSSES = ("ce", "pbce", "bce", "infonce")
CLASSES, ROWS, ENTRIES = 3, 16, 24


def cutmix(**options):
    return dict(type="MixingPolicy", name="cutmix", **options)


# Loss calls: a head's terms for random embeddings, each passed through ``cast``.


def embeddings(width=DIM):
    """Off zero, where bfloat16 would cost most."""
    return (3 + torch.randn(ROWS, width)).to(torch.bfloat16)


def unit(count=ROWS):
    return torch.nn.functional.normalize(torch.randn(count, DIM), dim=1).to(torch.bfloat16)


def mixture():
    return Mixed(torch.zeros(ROWS, 3, 4, 4), torch.rand(ROWS), torch.randperm(ROWS))


def two_views(head, cast):
    return head.loss(cast(embeddings()), cast(embeddings()))


def two_projectors(head, cast):
    return head.loss(*([cast(embeddings()), cast(embeddings())] for _ in range(2)))


def predictions(head, cast):
    return head.loss(term=[(cast(embeddings()), cast(embeddings()))])


def queued(head, cast):
    return head.loss(cast(unit()), cast(unit()), cast(unit(ENTRIES)))


def i_mix(head, cast):
    return head.loss(cast(unit()), cast(unit()), cast(unit(ENTRIES)), torch.randperm(ROWS), torch.rand(ROWS))


def mixed_queue(head, cast):
    return queued(head, cast) | head.mixed(cast(unit()), cast(unit()), cast(unit(ENTRIES)), mixture())


def amix(head, cast):
    rest = dict(logits=cast(embeddings(CLASSES)), labels=torch.randint(CLASSES, (ROWS,)))
    keys, queue, mixed = cast(unit()), cast(unit(ENTRIES)), mixture()
    terms = head.mixed(cast(unit()), keys, queue, mixed)
    terms |= head.block_terms(ALL_BLOCK_LOSSES, cast(unit()), keys, queue, mixed, **rest)
    return terms | head.mask_terms(torch.rand(ROWS, 1, 4, 4), mixed.lam, torch.tensor(1.0))


def block(head, cast):
    mixed, labels = mixture(), torch.randint(CLASSES, (ROWS,))
    mask = torch.rand(ROWS, 1, 4, 4)
    return head.loss(cast(embeddings(CLASSES)), cast(embeddings()), cast(embeddings()), labels, mixed, mask)


def clusters(head, cast):
    # The linear classifier belongs to the network; the loss begins at its outputs.
    head.classifier = torch.nn.Identity()
    logits, labels = cast(embeddings(CLASSES)), torch.randint(CLASSES, (ROWS,))
    return head.loss(logits, labels, torch.randint(1, 9, (CLASSES,)))


def banked(head, cast):
    return head.loss(cast(embeddings()), cast(embeddings()), cast(unit(ENTRIES)), torch.arange(ROWS))


def virtual(head, cast):
    return head.loss(*(cast(embeddings()) for _ in range(5)), torch.tensor(0.7))


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Args:
        model: The model's config besides its type and backbone.
        terms: Names of its loss terms, without ``loss_``.
        call: Loss call, a function of a head and of a cast of its floating-point inputs. None for heads of
            MMPretrain.
        sent: Collectives of a step, a function of ``bytes_per_step.Step``; in the first row of a name.
        head: Config of the head that is called; by default the model's.
        views: Views of an image.
        smallest: Images of the smallest batch.
        operations: Most operations of a recorded step, of its largest variant, on the way of an accelerator,
            views of memory left out; 0 if it cannot be recorded. A new number has a reason.
        few: Overrides of ``model`` with which a config takes a step on four images.
    """

    model: dict[str, Any]
    terms: set[str]
    call: Callable | None = None
    sent: Callable | None = None
    head: dict[str, Any] | None = None
    views: int = 2
    smallest: int = 2
    operations: int = 0
    few: dict[str, Any] = field(default_factory=dict)


BLOCK_HEAD = dict(type="MixBlockHead", losses=ALL_BLOCK_LOSSES)
BLOCK_TERMS = {"plain", "mix", "block_ce", "mask"}
MOCO_TERMS = {"contrastive", "mixed"}

# Registered name, or name and variant. States of every kind are there: EMA, queues, banks, clusters, frozen
# phases, schedules that depend on the step.
METHODS = {
    "AMix": Method(
        dict(CLASSIFIER, **BLOCK, momentum=0.9, mask_decay=True),
        BLOCK_TERMS,
        block,
        per_step.amix,
        head=BLOCK_HEAD,
        views=1,
        operations=838,
    ),
    "AMix-schedule": Method(
        dict(CLASSIFIER, **BLOCK, momentum=0.9, momentum_schedule="cosine", adjust_lam=True),
        BLOCK_TERMS,
        views=1,
        operations=851,
    ),
    "AMixC": Method(
        dict(QUEUE, **BLOCK, labels=PSEUDO, head=dict(type="AMixHead"), mask_decay=True),
        {*MOCO_TERMS, "classifier", "block_ce", "block_bce", "mask"},
        amix,
        per_step.amix_moco,
        operations=1099,
    ),
    "AMixClusters": Method(
        dict(CLASSIFIER, **BLOCK, momentum=0.9, clusters=dict(num_classes=3, interval=2)),
        {*BLOCK_TERMS, "classifier"},
        sent=per_step.amix,
        views=1,
        few=dict(clusters=dict(num_classes=2)),
        operations=886,
    ),
    "AMixI": Method(
        dict(QUEUE, **BLOCK, head=dict(type="AMixHead")),
        {*MOCO_TERMS, "block_infonce", "block_bce", "mask"},
        amix,
        per_step.amix_moco,
        operations=1073,
    ),
    "AutoMix": Method(
        dict(CLASSIFIER, **BLOCK, momentum=0.9), BLOCK_TERMS, sent=per_step.amix, views=1, operations=789
    ),
    "BSIM": Method(
        dict(QUEUE, head=dict(type="MixMoCoHead")),
        MOCO_TERMS,
        mixed_queue,
        per_step.mixed_moco,
        operations=710,
    ),
    "BYOL": Method(PREDICTION, {"prediction"}, predictions, per_step.prediction, operations=654),
    "BarlowTwins": Method(
        dict(neck=NECK, head=dict(type="BarlowTwinsHead")),
        {"invariance", "redundancy"},
        two_views,
        per_step.barlow_twins,
        operations=530,
    ),
    "Cross": Method(
        PREDICTION, {"cross_view", "cross_model"}, predictions, per_step.two_predictions, operations=696
    ),
    "IMix": Method(dict(QUEUE, head=dict(type="IMixHead")), {"mixed"}, i_mix, per_step.i_mix, operations=497),
    "ImageClassifier": Method(
        CLASSIFIER, {"classification"}, sent=per_step.classifier, views=1, operations=351
    ),
    "JaccardMoCo": Method(
        dict(QUEUE, neck=TWO_NECKS, head=dict(type="JaccardHead")),
        {"projector1", "projector2", "jaccard"},
        two_projectors,
        per_step.jaccard_moco,
        operations=644,
    ),
    "JaccardSimCLR": Method(
        dict(neck=TWO_NECKS, head=dict(type="JaccardHead")),
        {"projector1", "projector2", "jaccard"},
        two_projectors,
        per_step.jaccard_simclr,
        operations=702,
    ),
    "MixMoCo": Method(
        dict(QUEUE, head=dict(type="MixMoCoHead"), policy=cutmix(alpha=1.0)),
        MOCO_TERMS,
        mixed_queue,
        per_step.mixed_moco,
        operations=710,
    ),
    "MixMoCo-clusters": Method(
        dict(
            QUEUE,
            head=dict(type="MixMoCoHead"),
            policy=dict(type="MixingPolicy", name="puzzlemix"),
            labels=PSEUDO,
            pipeline="same",
        ),
        {*MOCO_TERMS, "classifier"},
        mixed_queue,
    ),
    "MixupClassifier": Method(
        dict(CLASSIFIER, policy=cutmix(prob=0.5)), {"mix"}, sent=per_step.classifier, views=1, operations=410
    ),
    "MixupClassifier-features": Method(
        dict(CLASSIFIER, policy=dict(type="MixingPolicy", name="manifoldmix")),
        {"mix"},
        views=1,
        operations=377,
    ),
    "MoCHi": Method(
        dict(QUEUE, head=dict(type="MoCHiHead", num_hard=8, num_mixed=4, num_with_query=2)),
        {"contrastive"},
        queued,
        per_step.moco,
        operations=510,
    ),
    "MoCo": Method(
        dict(QUEUE, head=dict(type="MoCoHead")), {"contrastive"}, queued, per_step.moco, operations=480
    ),
    "ODC": Method(
        dict(
            neck=NECK,
            head=dict(type="ODCHead", in_channels=DIM, num_clusters=CLASSES),
            min_size=2,
            interval=2,
        ),
        {"cluster"},
        clusters,
        per_step.odc,
        views=1,
        few=dict(head=dict(num_clusters=2)),
        operations=420,
    ),
    "PIRL-jigsaw": Method(
        dict(neck=NECK, pretext="jigsaw", head=dict(type="PIRLHead", num_negatives=8)),
        {"transformed", "image"},
        banked,
        per_step.pirl,
        views=1,
        operations=668,
    ),
    "PIRL-rotation": Method(
        dict(neck=NECK, pretext="rotation", head=dict(type="PIRLHead", num_negatives=8)),
        {"transformed", "image"},
        banked,
        views=1,
        operations=648,
    ),
    "SimCLR": Method(
        dict(neck=NECK, head=dict(type="SimCLRHead")),
        {"contrastive"},
        two_views,
        per_step.simclr,
        operations=556,
    ),
    "SimSiam": Method(
        {key: value for key, value in PREDICTION.items() if key != "momentum"},
        {"prediction"},
        predictions,
        per_step.prediction,
        operations=553,
    ),
    "SwAV": Method(
        dict(
            neck=NECK,
            head=dict(type="SwAVHead", in_channels=DIM, num_prototypes=5),
            freeze_prototypes_steps=3,
        ),
        {"swapped_prediction"},
        two_views,
        per_step.swav,
        few=dict(freeze_prototypes_steps=0),
        operations=614,
    ),
    "TriBYOL": Method(
        dict(PREDICTION),
        {"target1", "target2"},
        predictions,
        per_step.two_predictions,
        views=3,
        operations=892,
    ),
    "TriBYOL-alternate": Method(
        dict(PREDICTION, target_update="alternate", momentum_schedule="cosine"),
        {"target1", "target2"},
        predictions,
        views=3,
        operations=941,
    ),
    "TriMix": Method(
        dict(neck=NECK, head=dict(type="TriMixHead")),
        {"invariance", "redundancy", "virtual", "consistency"},
        virtual,
        per_step.trimix,
        operations=759,
    ),
    "TriMix-epoch": Method(
        dict(neck=NECK, head=dict(type="TriMixHead"), lam_per="epoch"),
        {"invariance", "redundancy", "virtual", "consistency"},
        virtual,
        operations=758,
    ),
    "UnMix": Method(
        dict(QUEUE, head=dict(type="MixMoCoHead")),
        MOCO_TERMS,
        mixed_queue,
        per_step.mixed_moco,
        operations=710,
    ),
    "WMSE": Method(
        dict(neck=dict(NECK, out_channels=2), head=dict(type="WMSEHead", whitening_size=4, iterations=2)),
        {"whitened"},
        two_views,
        per_step.w_mse,
        head=dict(type="WMSEHead", whitening_size=ROWS),
        smallest=4,
        operations=569,
        few=dict(neck=dict(out_channels=2), head=dict(whitening_size=4)),
    ),
    "VICReg": Method(
        dict(neck=NECK, head=dict(type="VICRegHead")),
        {"invariance", "variance", "covariance"},
        two_views,
        per_step.vicreg,
        operations=558,
    ),
}
# Registered, and not trained here: why.
ELSEWHERE = {
    "FasterRCNN": "tests/detection/test_detector_training.py",
    "PlainBackbone": "refuses to be trained",
}


def type_of(case):
    """Registered name of a row."""
    return case.partition("-")[0]


def method_of(name):
    """The first row of a registered name."""
    return next(method for case, method in METHODS.items() if type_of(case) == name)


def traffic(model, settings, batch, world, size):
    """Calls per step by kind and bytes, besides gradients and batch norms; one process sends nothing.

    ``batch`` images of ``size`` pixels a side on each of ``world`` processes.
    """
    calls = Counter()
    if world > 1:
        for kind, sent, count in method_of(settings["type"]).sent(
            per_step.Step(model, settings, batch, world, 3 * size**2)
        ):
            calls[kind, sent] += count
    return calls


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
    method, name = METHODS[case], type_of(case)
    model = copy.deepcopy(method.model)
    dataset = dict(type="NPZDataset", data_root=str(images))
    return Config(
        dict(
            default_scope="ssl_ext",
            randomness=dict(seed=0),
            data_preprocessor=dict(mean=[0.5] * 3, std=[0.5] * 3),
            views=[
                dict(
                    repeats=method.views,
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
