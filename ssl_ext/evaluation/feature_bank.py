"""Features of a checkpoint on a split, cached on disk under a hash of weights, data and preprocessing."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from ssl_ext.files import replacing

from .features import extract_features, process_group
from .tasks import labelled_rows

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FeatureBank:
    """Features (N, D) float32, labels (N,) or (N, L), negative for unlabelled, and metadata."""

    features: Tensor
    labels: Tensor
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or len(self.features) != len(self.labels):
            raise ValueError(
                f"features {tuple(self.features.shape)} and labels {tuple(self.labels.shape)} do not "
                "make a bank: (N, D) and N labels are needed"
            )

    def __len__(self) -> int:
        return len(self.features)

    def select(self, rows: Tensor) -> FeatureBank:
        """Return the given rows (indices or a mask), in that order."""
        return FeatureBank(self.features[rows], self.labels[rows], self.meta)

    def labelled(self) -> FeatureBank:
        """Return the labelled rows."""
        known = labelled_rows(self.labels)
        return self if bool(known.all()) else self.select(known)

    def to(self, device: torch.device | str) -> FeatureBank:
        """Move the bank to another device."""
        return FeatureBank(self.features.to(device), self.labels.to(device), self.meta)

    def save(self, path: str | os.PathLike) -> None:
        """Write features and metadata, with a hash of the features, as ``.npz`` file, atomically."""
        features = self.features.numpy()
        about = json.dumps({**self.meta, "sha256": _array_hash(features)})
        with replacing(path) as file:
            np.savez(file, features=features, meta=np.frombuffer(about.encode(), dtype=np.uint8))

    @classmethod
    def load(cls, path: str | os.PathLike, labels: Tensor) -> FeatureBank:
        """Read the features of a file; the labels are those of the data set.

        Raises:
            ValueError: The file is damaged, its features are not (N, D) finite float32 numbers with one row
                for each label, or they do not match the stored hash.
            FileNotFoundError: The file is missing.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                array, meta = file["features"], dict(json.loads(file["meta"].tobytes()))
            if array.dtype != np.float32 or array.ndim != 2 or not np.isfinite(array).all():
                raise ValueError(f"{array.dtype} {array.shape} is not a table of finite float32 numbers")
            if meta.pop("sha256", None) != _array_hash(array):
                raise ValueError("its features do not match the stored hash")
            return cls(torch.from_numpy(array), labels, meta)
        except FileNotFoundError:
            raise
        except Exception as error:
            # Damaged bytes can raise any error in the readers of ZIP, arrays and JSON.
            raise ValueError(f"the feature file {path} is damaged ({error})") from error


def _array_hash(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def weights_fingerprint(module: nn.Module) -> str:
    """SHA-256 of a module's ``repr`` and the names, shapes, dtypes and values of its state dict."""
    digest = hashlib.sha256(repr(module).encode())
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def dataset_fingerprint(dataset: Any) -> str | None:
    """SHA-256 of a data set's ``images``, its stored ``content`` hash, or names and sizes of ``files``.

    Includes labels, groups, ``metainfo`` and how files are read. None for a data set with neither ``images``
    nor ``files``.
    """
    info = getattr(dataset, "metainfo", {})
    digest = hashlib.sha256(f"{type(dataset).__name__} {len(dataset)} {sorted(info.items())}".encode())
    if isinstance(getattr(dataset, "images", None), Tensor):
        digest.update(dataset.images.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    elif getattr(dataset, "files", None):
        options = {k: v for k, v in sorted(vars(dataset).items()) if isinstance(v, (int, float, str, tuple))}
        digest.update(f"{options} {getattr(dataset, 'reading', '')}".encode())
        if hasattr(dataset, "content"):
            return digest.hexdigest()
        ends = [choose(map(os.path.abspath, dataset.files)) for choose in (min, max)]
        root = os.path.dirname(os.path.commonprefix(ends))
        for path in map(os.path.abspath, dataset.files):
            digest.update(os.fsencode(os.path.relpath(path, root)) + f" {os.stat(path).st_size}\n".encode())
    else:
        return None
    digest.update(torch.as_tensor(dataset.labels).cpu().numpy().tobytes())
    if (groups := getattr(dataset, "groups", None)) is not None:
        digest.update("\n".join(groups).encode(errors="surrogateescape"))
    return digest.hexdigest()


def cache_key(weights: str, dataset: str, preprocessing: object) -> str:
    """Name of a cache file (32 hexadecimal digits) from the fingerprints of weights and data.

    ``preprocessing`` enters by its ``repr``, for example a dict of mean, std and image size.
    """
    return hashlib.sha256(f"{weights} {dataset} {preprocessing!r}".encode()).hexdigest()[:32]


def _load_if_sound(path: Path, labels: Any) -> FeatureBank | None:
    if not path.is_file():
        return None
    try:
        return FeatureBank.load(path, torch.as_tensor(labels).cpu())
    except (ValueError, OSError) as error:
        logger.warning("%s; the features are recomputed", error)
        return None


def _everywhere(here: bool) -> bool:
    """Return True if ``here`` is True in every process."""
    if process_group()[1] == 1:
        return here
    flag = torch.tensor(int(here), device="cuda" if dist.get_backend() == "nccl" else "cpu")
    dist.all_reduce(flag, dist.ReduceOp.MIN)
    return bool(flag)


def cached_features(
    embed: Callable[[Tensor], Tensor],
    dataset: Any,
    *,
    path: str | os.PathLike | None,
    batch_size: int = 512,
    model: nn.Module | None = None,
    num_workers: int = 0,
    words: str = "features",
) -> FeatureBank:
    """Load the bank from ``path``, or extract features and write them there.

    A damaged file is replaced with a warning. ``path=None`` disables the cache. ``meta`` holds ``cached``
    (True if loaded) and ``seconds`` (time of the extraction). The other arguments are those of
    :func:`ssl_ext.evaluation.features.extract_features`.
    """
    bank = _load_if_sound(Path(path), dataset.labels) if path is not None else None
    if _everywhere(bank is not None) and bank is not None:
        return FeatureBank(bank.features, bank.labels, {**bank.meta, "cached": True})
    start = time.perf_counter()
    features, labels = extract_features(
        embed, dataset, batch_size=batch_size, model=model, num_workers=num_workers, words=words
    )
    seconds = round(time.perf_counter() - start, 3)
    bank = FeatureBank(features, labels, {"seconds": seconds, "cached": False})
    if path is not None and process_group()[0] == 0:
        bank.save(path)
    return bank
