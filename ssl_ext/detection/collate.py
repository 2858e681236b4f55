"""Collation of images with boxes."""

from collections.abc import Sequence
from typing import Any

import mmengine.registry

from ssl_ext.registry import FUNCTIONS


# In both registries, see collate_batch.
@mmengine.registry.FUNCTIONS.register_module()
@FUNCTIONS.register_module()
def collate_detection(batch: Sequence[dict[str, Any]]) -> dict[str, list]:
    """Collate samples into lists of ``inputs`` and ``data_samples``, because sizes differ.

    Example:
        >>> import torch
        >>> items = [dict(inputs=torch.zeros(3, h, 8), data_samples=dict(image_id=h)) for h in (4, 6)]
        >>> batch = collate_detection(items)
        >>> [tuple(image.shape) for image in batch['inputs']], batch['data_samples'][1]
        ([(3, 4, 8), (3, 6, 8)], {'image_id': 6})
    """
    return {key: [item[key] for item in batch] for key in ("inputs", "data_samples")}
