"""Detection of blood cells (BCCD) from several backbones: Faster R-CNN, ResNet-18-C4, quarter width.

Backbones are pretrained for 20 epochs on 11,959 blood cells of 28 px (BloodMNIST), once; the detector trains
for 500 iterations of four images, with three seeds: about four minutes each on one core. The data are in
``data/voc_bccd`` and ``data/medmnist`` (``dataset.data_root`` of the configs).
"""

AXES = dict(row=["random", "simclr", "trimix", "amix-i"], metric=["AP", "AP50", "AP75"])
ROWS, COLUMNS = ["row"], ["metric"]
CONFIG = "{row}_resnet18{recipe}_bloodmnist"
EVALUATE = dict(
    protocols="detection",
    config="random_resnet18-w16-c4_1xb4-sgd-1k_bccd",
    pretrain_seed=0,
    options=[
        "train_cfg.max_iters=500", "param_scheduler.1.milestones=[375,450]",
        # Those of the pretraining, for random weights too.
        "init.mean=[0.5,0.5,0.5]", "init.std=[0.5,0.5,0.5]",
    ],
)  # fmt: skip
SEEDS = range(3)
METRIC, UNIT = "{metric}", "%"
SOURCE = "Comparison of backbones on BCCD, which no paper prints"
WIDTH = [
    "model.backbone.type=ResNet", "model.backbone.stem_channels=16", "model.backbone.base_channels=16",
    "model.neck.in_channels=128", "train_dataloader.batch_size=128", "train_cfg.max_epochs=20",
]  # fmt: skip


def cell(row, metric):
    """SimCLR and TriMix at AMix's width, batch and length; random weights have no config of their own."""
    if row == "amix-i":
        return dict(recipe="-w16_1xb128-sgd-20e", options=[])
    method = dict(row="simclr", pretrain=False) if row == "random" else {}
    return dict(method, recipe="_1xb256-adam-200e", options=[] if method else WIDTH)


PUBLISHED = "\n".join(["- - -"] * 4)
