"""Options that spare memory, looked at before training: what they cannot do, and what they change."""

from __future__ import annotations

import warnings

from mmengine.config import Config

from ssl_ext.engine.activation_checkpointing import checked_stages
from ssl_ext.errors import UserError
from ssl_ext.models.selfsup.base import UNKNOWN, TrainableModel


def check_memory_options(config: Config, model: TrainableModel) -> None:
    """Look at ``activation_checkpointing`` and ``optim_wrapper.accumulative_counts``.

    Warns where gradients accumulated over several batches are not those of one large batch: the model's
    ``batch_dependence`` says what ties the images of a batch together, or is None.

    Raises:
        UserError: The backbone has no stages to compute again, or the step is to be compiled.
    """
    if config.get("activation_checkpointing", False):
        checked_stages(model)
        if config.get("compile", False):
            raise UserError(
                "activation_checkpointing and compile do not go together: a compiled second pass writes to "
                "running statistics again; set one of them to False."
            )
    count = config.optim_wrapper.get("accumulative_counts", 1)
    dependence = model.batch_dependence
    if count > 1 and dependence is not None:
        batch_size = config.train_dataloader.get("batch_size", 1)
        warnings.warn(
            f"optim_wrapper.accumulative_counts={count}: {count} batches of {batch_size} "
            f"{'may' if dependence is UNKNOWN else 'do'} not give {type(model).__name__} the update of one "
            f"batch of {count * batch_size}, as {dependence}.",
            stacklevel=2,
        )
