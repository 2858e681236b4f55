"""MMPretrain as a contender: its algorithms, pipeline and data preprocessor in MMEngine's Runner.

Its SimCLR computes both views in one pass with joint batch statistics; its MoCo shuffles keys on one process
too. Crop and jitter use OpenCV, the faster backend, without antialiasing. The EMA momentum is constant in
MoCo and follows a cosine in BYOL.
"""

import tempfile

import numpy as np
from mmengine.runner import Runner
from mmpretrain.datasets.base_dataset import BaseDataset
from mmpretrain.utils import register_all_modules

from .workload import LendEpochs, Use, Workload

NAME = "mmpretrain"


def start_mmpretrain(work: Workload, use: Use) -> None:
    """Call ``use`` with the runner as a contender: default hooks, the same log interval, no checkpoints."""
    register_all_modules(init_default_scope=False)
    interval = work.config.get("default_hooks", {}).get("logger", {}).get("interval", 10)
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(
            model=mmpretrain_model(work),
            work_dir=folder,
            train_dataloader=dict(
                work.loader_settings(),
                dataset=dict(type=ImagesInMemory, data=work.data(), pipeline=_pipeline(work)),
                sampler=dict(type="DefaultSampler", shuffle=True),
                collate_fn=dict(type="default_collate"),
            ),
            train_cfg=dict(by_epoch=True, max_epochs=work.epochs),
            optim_wrapper=dict(type="OptimWrapper", optimizer=dict(work.config.optim_wrapper.optimizer)),
            default_hooks=dict(logger=dict(type="LoggerHook", interval=interval), checkpoint=None),
            env_cfg=work.config.get("env_cfg", {}),
            visualizer=dict(type="UniversalVisualizer", vis_backends=[dict(type="LocalVisBackend")]),
            default_scope="mmpretrain",
            randomness=dict(seed=0),
            experiment_name=f"{NAME}-{work.model.type}",
        )
        runner.register_hook(LendEpochs(NAME, use))
        runner.train()


class ImagesInMemory(BaseDataset):
    """Images (N, H, W, 3) and labels (N,) in memory; the pipeline processes single images."""

    def __init__(self, data: tuple[np.ndarray, np.ndarray], pipeline: list[dict]) -> None:
        self.arrays = data
        super().__init__(ann_file="", pipeline=pipeline)

    def load_data_list(self) -> list[dict]:
        """One dict per image."""
        pairs = zip(*self.arrays, strict=True)
        return [dict(img=image, gt_label=int(label)) for image, label in pairs]


def _pipeline(work: Workload) -> list[dict]:
    crop, flip, jitter, grey = work.transforms.values()
    ranges = {key: jitter.get(key, 0.0) for key in ("brightness", "contrast", "saturation", "hue")}
    # Images are RGB here; files read by OpenCV are BGR.
    luma = dict(keep_channels=True, channel_weights=(0.2989, 0.587, 0.114))
    view = [
        dict(type="RandomResizedCrop", scale=work.size, crop_ratio_range=crop["scale"], backend="cv2"),
        dict(type="RandomFlip", prob=flip["p"]),
        dict(
            type="RandomApply",
            prob=jitter.get("p", 1.0),
            transforms=[dict(type="ColorJitter", backend="cv2", **ranges)],
        ),
        dict(type="RandomGrayscale", prob=grey["p"], **luma),
    ]
    return [dict(type="MultiView", num_views=2, transforms=[view]), dict(type="PackInputs")]


def mmpretrain_model(work: Workload) -> dict:
    """The config of MMPretrain's algorithm."""
    ours = work.model
    neck, head = dict(ours.neck, with_avg_pool=True), ours.head
    model = dict(type=ours.type, backbone=dict(ours.backbone), neck=neck)
    contrast = dict(type="ContrastiveHead", loss=dict(type="CrossEntropyLoss"))
    match ours.type:
        case "SimCLR":
            model["head"] = dict(contrast, temperature=head.temperature)
        case "BarlowTwins":
            loss = dict(type="CrossCorrelationLoss", lambd=head.redundancy_weight)
            model["head"] = dict(
                type="LatentCrossCorrelationHead", in_channels=neck["out_channels"], loss=loss
            )
        case "MoCo":
            model["head"] = dict(contrast, temperature=head.temperature)
            model |= dict(
                queue_len=ours.queue_size, feat_dim=neck["out_channels"], momentum=1 - ours.momentum
            )
        case "BYOL":
            loss = dict(type="CosineSimilarityLoss")
            model["head"] = dict(type="LatentPredictHead", predictor=dict(ours.predictor), loss=loss)
            model["base_momentum"] = 1 - ours.momentum
    statistics = {
        key: [255 * value for value in work.config.data_preprocessor[key]] for key in ("mean", "std")
    }
    return model | dict(data_preprocessor=dict(type="SelfSupDataPreprocessor", **statistics))
