"""Configs and the objects they describe."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mmengine.config import Config, DictAction
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from ssl_ext.errors import UserError, user_errors
from ssl_ext.evaluation import Splits, load_splits
from ssl_ext.models.selfsup.base import TrainableModel, adapted
from ssl_ext.registry import DATASETS, MODELS

from .kinds import check_kinds
from .locate import config_file, read_config


def load_config(config: Config | str | os.PathLike, options: dict | None = None) -> Config:
    """Read a config file (or copy a config), apply overrides and make this project's scope the default.

    Raises:
        UserError: The file is missing or is not a config, an override has no place in it, or a value is of
            another kind than its key needs.
    """
    init_default_scope("ssl_ext")
    if isinstance(config, Config):
        config = copy.deepcopy(config)
    else:
        config_file(config)
        try:
            config = read_config(config)
        except Exception as error:
            # A config is a Python file: whatever is wrong in it can surface as any exception.
            raise UserError(f"Config '{config}' cannot be read: {error}") from error
    if options:
        with user_errors(f"--cfg-options {options}"):
            config.merge_from_dict(options)
    check_kinds(config)
    return config


def parse_options(pairs: Sequence[str]) -> dict:
    """``['a.b=1', 'c=[2,3]']`` as ``{'a.b': 1, 'c': [2, 3]}``, values read as MMEngine reads them.

    Raises:
        UserError: A pair without ``=``.
    """
    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UserError(f"--cfg-options '{pair}' is not of the form key=value.")
        with user_errors(f"--cfg-options '{pair}'"):
            options[key] = DictAction._parse_iterable(value)
    return options


def build_model(config: Config) -> TrainableModel:
    """Build the model of a config and initialise its weights (from torch's global generator).

    The preprocessor is put together from two keys of the config, so that a data set and a choice of
    views can be inherited from different files: ``data_preprocessor`` (mean and std) and ``views``.
    A ``model.data_preprocessor`` overrides both.

    Raises:
        UserError: A class that is not registered, or an argument that it refuses.
    """
    settings = copy.deepcopy(config.model)
    if "data_preprocessor" not in settings and "data_preprocessor" in config:
        settings.data_preprocessor = dict(
            {"type": "MultiViewPreprocessor", "views": config.get("views", ())},
            **copy.deepcopy(config.data_preprocessor),
        )
    with user_errors("model"):
        model = adapted(MODELS.build(settings))
    with _quiet(), user_errors("model, its initial weights"):
        model.init_weights()
    return model


def build_evaluation_splits(config: Config, *, test: bool = True) -> Splits:
    """Train, validation and test data of ``evaluation_dataset``; without ``test`` that one is not built.

    Raises:
        UserError: The data set cannot be built, or has neither a test nor a val split.
    """
    with user_errors("evaluation_dataset"):
        return load_splits(
            lambda split: DATASETS.build(dict(copy.deepcopy(config.evaluation_dataset), split=split)),
            test=test,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    # MMEngine logs three lines for every parameter that it initialises.
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
