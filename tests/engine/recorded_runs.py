"""Runs with checkpoints in memory, with a plain or recorded step."""

import copy

import torch
from methods import IMAGES, tiny_run
from mmengine.runner import runner as mmengine_runner

from ssl_ext.apis import pretrain
from ssl_ext.capture import accelerator_branches
from ssl_ext.engine.step import TrainStep

PER_EPOCH = IMAGES // 16
# Algorithms that cannot be recorded, and why.
FALLBACK = {"MixMoCo-clusters": "puzzlemix solves graph cuts on the host"}
VIEWS = [
    dict(type="RandomResizedCrop", scale=(0.2, 1.0)),
    dict(type="RandomHorizontalFlip"),
    dict(type="ColorJitter", brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=0.8),
    dict(type="RandomGrayscale", p=0.2),
]


def recordable_run(case, images, *, epochs=7, every=PER_EPOCH, **options):
    """Config of ``epochs`` epochs of an algorithm; a checkpoint every ``every`` steps."""
    config = tiny_run(case, images)
    config.train_cfg.max_epochs = epochs
    config.param_scheduler[0].T_max = epochs
    # Use the kernels of a recorded step, so that only recording differs.
    config.optim_wrapper.optimizer.fused = True
    config.default_hooks.checkpoint.update(interval=every, max_keep_ckpts=-1)
    for hook in config.custom_hooks:
        if hook.type == "FeatureMonitorHook":
            hook.interval = 4
    config.views[0].transforms = copy.deepcopy(VIEWS)
    config.merge_from_dict(options)
    return config


def checkpoints_of(config, folder, mode, monkeypatch, **options):
    """Checkpoints of a run; ``mode`` is a value of ``captured_step``."""
    kept = []
    config = copy.deepcopy(config)
    config.captured_step = mode
    with monkeypatch.context() as patch:
        patch.setattr(
            mmengine_runner, "save_checkpoint", lambda saved, path, **_: kept.append(copy.deepcopy(saved))
        )
        if mode is False and not torch.cuda.is_available():
            # Take the branches without host reads, as a recorded step does.
            run = TrainStep.run

            def on_accelerator(step):
                with accelerator_branches():
                    return run(step)

            patch.setattr(TrainStep, "run", on_accelerator)
        pretrain(config, work_dir=folder, **options)
    return kept
