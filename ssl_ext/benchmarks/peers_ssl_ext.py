"""The way of this project: what ``tools/train.py`` does with a config."""

import copy
import warnings

import torch
from mmengine.runner import Runner, set_random_seed

from ssl_ext.apis import build_model
from ssl_ext.apis.pretrain import MONITORS, build_runner
from ssl_ext.benchmarks.peers_work import CLASSES, EpochsInTurn, Then, Work
from ssl_ext.config.training import check_batches
from ssl_ext.datasets import ArrayDataset

NAME = "ssl_ext"


def start_ssl_ext(work: Work, then: Then, *, name: str = NAME, device: str | None = None) -> None:
    """Lend the epochs of the runner: every hook of the config but checkpoints and monitors, log lines.

    Views are drawn in batches by the data preprocessor; ``channels_last`` is as the config has it. The images
    are kept on ``device``, by default in memory.
    """
    config = copy.deepcopy(work.config)
    config.work_dir = f"{work.folder}/{name}-{work.model.type}"
    config.train_cfg = dict(by_epoch=True, max_epochs=work.epochs)
    config.setdefault("default_hooks", {})["checkpoint"] = None
    config.custom_hooks = [h for h in config.get("custom_hooks") or [] if h.type not in MONITORS]
    seed = set_random_seed(config.setdefault("randomness", {}).get("seed"))
    config.randomness["seed"] = seed
    config.train_dataloader.update(work.loader_settings())
    dataset = ArrayDataset(
        work.images.transpose(0, 3, 1, 2), work.labels, classes=list(map(str, range(CLASSES))), device=device
    )
    loader = Runner.build_dataloader(dict(config.train_dataloader, dataset=dataset), seed=seed)
    if loader.persistent_workers:
        loader.generator = torch.Generator()
    model = build_model(config)
    with warnings.catch_warnings():
        # What a stem does to the accuracy does not matter here.
        warnings.simplefilter("ignore", UserWarning)
        check_batches(config, loader, model)
    runner = build_runner(config, model, loader, None, False)
    runner.register_hook(EpochsInTurn(name, then))
    runner.train()
