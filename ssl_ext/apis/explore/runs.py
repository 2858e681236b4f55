"""The runs of an explorer page: checkpoint and config of each, and the features of their images."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ssl_ext.apis.evaluate.data import EvaluationData
from ssl_ext.apis.evaluate.networks import Networks
from ssl_ext.config.data import loading_settings
from ssl_ext.config.load import load_config
from ssl_ext.config.networks import check_images, choose_device
from ssl_ext.config.recipes import Recipes, read_recipes
from ssl_ext.config.stored import BACKBONE_ALONE, config_of_checkpoint
from ssl_ext.engine import checkpoint_of
from ssl_ext.engine.weights.files import read_weights
from ssl_ext.errors import UserError
from ssl_ext.evaluation import FeatureBank
from ssl_ext.files import distinct_names, shown
from ssl_ext.models.evaluated import EvaluatedModel


@dataclass(frozen=True)
class Run:
    """A checkpoint, its config, and its name on the page."""

    name: str
    checkpoint: Path
    config: Config

    @property
    def features_folder(self) -> Path:
        """Folder of the cached features, that of evaluation."""
        return self.checkpoint.parent / "evaluation" / "features"

    def embed(self, data: EvaluationData, seed: int) -> Embedded:
        """Load the network and its recipes; the features are computed on demand.

        Raises:
            UserError: The checkpoint does not fit the config, or the network does not accept the images.
        """
        recipes = read_recipes(self.config, None)
        networks = Networks(
            self.config,
            self.checkpoint,
            seed=seed,
            device=data.device,
            precision=recipes.precision,
            renamed=self.config.model.type == BACKBONE_ALONE,
        )
        check_images(networks.main, data.splits.train, data.key)
        data = copy.copy(data)
        data.cache_dir = self.features_folder
        return Embedded(data, networks.main, recipes)


@dataclass(frozen=True)
class Embedded:
    """A network with the data and the recipes of its evaluation."""

    data: EvaluationData
    network: EvaluatedModel
    recipes: Recipes

    def bank(self, dataset: Any, split: str) -> FeatureBank:
        """Features of all images of a split, cached beside the checkpoint."""
        return self.data.bank(self.network, dataset, split)


def find_runs(
    places: Sequence[str | os.PathLike], config: Any = None, options: dict | None = None
) -> list[Run]:
    """Return the newest checkpoint of each work directory (or the named checkpoint), with its config.

    Raises:
        UserError: There are more than two places, a folder has no checkpoint, or there is no config.
    """
    if len(places) not in (1, 2):
        raise UserError(f"{len(places)} runs are given; a page shows one or two.")
    checkpoints = [checkpoint_of(place) for place in places]
    names = [name.removesuffix(".pth") for name in distinct_names(checkpoints)]
    if len(checkpoints) == 1:
        names = [f"{shown(checkpoints[0].resolve().parent.name)}/{names[0]}"]
    runs = []
    for name, checkpoint in zip(names, checkpoints, strict=True):
        found = config_of_checkpoint(checkpoint, read_weights(checkpoint), config, data=True)
        found = load_config(found, options, required=("model",))
        if not found.get("evaluation_dataset") and not (found.get("train_dataloader") or {}).get("dataset"):
            raise UserError(
                f"The config of '{checkpoint}' has neither evaluation_dataset nor train_dataloader.dataset: "
                "give a config with images (--config)."
            )
        runs.append(Run(name, checkpoint, found))
    return runs


def load_images(run: Run) -> EvaluationData:
    """Data of the evaluation of a run; without ``evaluation_dataset`` the training images.

    Raises:
        UserError: The data set cannot be built.
    """
    return EvaluationData(
        run.config,
        loading=loading_settings(run.config),
        cache_dir=run.features_folder,
        device=choose_device(),
    )


def choose_split(data: EvaluationData, split: str | None) -> tuple[str, Any]:
    """Name and data set of a split; by default the reported one, or the training images without labels.

    Raises:
        UserError: There is no such split, or it has a single image.
    """
    splits = data.splits
    known = {"train": splits.train, "val": splits.val, splits.test_name: splits.test}
    known = {name: dataset for name, dataset in known.items() if dataset is not None}
    name = split or splits.test_name or "train"
    if name not in known:
        raise UserError(f"--split is {name!r}; the data have {', '.join(known)}.")
    if len(known[name]) < 2:
        raise UserError(f"The split {name} has {len(known[name])} image; at least 2 are needed.")
    return name, known[name]
