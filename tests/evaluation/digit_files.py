"""Files of few digits."""

import numpy as np

from ssl_ext.datasets import Digits


def save_digits(path, counts, channels=3, one_class=False):
    """Write the first digits of each split; the settings of their data set."""
    arrays = {}
    for split, count in counts.items():
        digits = Digits(split, image_size=8, channels=channels)
        arrays[f"x_{split}"], labels = digits.images[:count].numpy(), digits.labels[:count].numpy()
        arrays[f"y_{split}"] = 0 * labels + 4 if one_class else labels
    np.savez(path, **arrays)
    return dict(type="NPZDataset", data_root=str(path), layout="NCHW")
