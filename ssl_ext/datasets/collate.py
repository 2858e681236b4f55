"""Collation of samples into a batch."""

from collections.abc import Sequence
from typing import Any

import mmengine.registry
from torch.utils.data import default_collate

from ssl_ext.registry import FUNCTIONS


# The Runner looks collate functions up in MMEngine's root registry, regardless of the default scope;
# the second registration allows 'collate_batch' in configs.
@mmengine.registry.FUNCTIONS.register_module()
@FUNCTIONS.register_module()
def collate_batch(batch: dict[str, Any] | Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Stack a list of samples; return a batch unchanged.

    Args:
        batch: batch from ``ArrayDataset.__getitems__``, or a list of dicts with ``inputs``
            (C, H, W), ``labels`` and ``indices``.

    Raises:
        ValueError: the images of the list differ in shape.

    Example:
        >>> import torch
        >>> sample = dict(inputs=torch.zeros(3, 8, 8, dtype=torch.uint8), labels=1, indices=0)
        >>> {key: tuple(value.shape) for key, value in collate_batch([sample, sample]).items()}
        {'inputs': (2, 3, 8, 8), 'labels': (2,), 'indices': (2,)}
    """
    if isinstance(batch, dict):
        return batch
    shapes = sorted({tuple(sample["inputs"].shape) for sample in batch})
    if len(shapes) > 1:
        raise ValueError(
            f"images of one batch must have one shape, got {shapes}; "
            "let the data set bring them to one size (config key: dataset.image_size)"
        )
    return default_collate(list(batch))
