"""Per-image scores of a measurement, stored so that metrics can be computed without the network."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ssl_ext.errors import UserError
from ssl_ext.files import check_file

from .bootstrap import bootstrap, interval, share_interval, units
from .metrics import TOP5_FROM, predicted_classes
from .tasks import labelled_rows

if TYPE_CHECKING:
    from .weighted import Weighted

ALL_UP_TO = 1_000_000  # scores of a split; beyond it only the KEPT largest scores per image are stored
KEPT = 10
EPOCHS = ("last", "best")


@dataclass(frozen=True)
class Scored:
    """Probabilities (N, C) of a split's labelled images by the last and the best classifier, and labels.

    ``best`` is ``last`` if there is only one classifier. ``binary`` scores may have one column.
    """

    last: Tensor
    best: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Part:
    """Scores of a split: ``values`` (N, K), and ``classes`` (N, K) if only the largest are stored."""

    values: np.ndarray
    predicted: np.ndarray
    classes: np.ndarray | None = None

    @classmethod
    def of(cls, scores: Tensor, task: str) -> Part:
        """Select the scores to store, float32; for ``binary`` tasks those of the positive class, (N, 1).

        With more than ``ALL_UP_TO`` scores and 2 · ``KEPT`` classes, only the ``KEPT`` largest per image.
        """
        scores = scores.detach().float().clamp(0, 1)
        if task == "binary":
            scores = scores.reshape(len(scores), -1)[:, -1:]
        predicted = predicted_classes(scores.cpu().numpy(), task)
        if scores.numel() <= ALL_UP_TO or scores.shape[1] <= 2 * KEPT or task == "multi-label":
            return cls(scores.cpu().numpy(), predicted)
        # Ties are broken in favour of the later class, as in scikit-learn's top-k accuracy.
        order = scores.argsort(dim=1, stable=True).flip(1)[:, :KEPT]
        return cls(scores.gather(1, order).cpu().numpy(), predicted, order.cpu().numpy())

    def select(self, rows: np.ndarray) -> Part:
        """Return the scores of some images, given by a mask or their places."""
        return Part(
            self.values[rows], self.predicted[rows], None if self.classes is None else self.classes[rows]
        )

    def in_top5(self, labels: np.ndarray) -> np.ndarray:
        """Mask (N,) of the images whose class is among the five highest scores."""
        order = self.classes
        if order is None:
            order = np.argsort(self.values, axis=1, kind="stable")[:, ::-1]
        return (order[:, :5] == labels[:, None]).any(axis=1).astype(np.float32)

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """Arrays to store: float16 log-odds, which change the odds by at most 0.8 %, also near 0 and 1."""
        from scipy.special import logit

        found = {f"log_odds_{name}": logit(self.values).astype(np.float16)}
        found[f"predicted_{name}"] = self.predicted.astype(np.int32)
        return found if self.classes is None else {**found, f"classes_{name}": self.classes.astype(np.int32)}

    @classmethod
    def read(cls, content: Mapping[str, np.ndarray], name: str) -> Part:
        """Read a part from a file; ``best`` falls back to ``last`` if it was not stored separately."""
        from scipy.special import expit

        if f"log_odds_{name}" not in content:
            name = name.replace("best", "last")
        values = expit(content[f"log_odds_{name}"].astype(np.float32))
        predicted = content[f"predicted_{name}"].astype(np.int64)
        return cls(values, predicted, content.get(f"classes_{name}"))


@dataclass(frozen=True)
class Predictions:
    """Scores of the labelled images of the reported and the validation split.

    ``test`` and ``val`` have the keys ``last`` and ``best`` (epoch). ``images`` are row numbers in the
    reported split, ``groups`` their groups (patient, slide) or None; see :meth:`placed`. Validation scores
    are those of the classifier used for selection, before it is refitted; ``val_groups`` is the number of
    their groups, or None.
    """

    task: str
    num_classes: int
    labels: np.ndarray
    test: Mapping[str, Part]
    val_labels: np.ndarray
    val: Mapping[str, Part]
    images: np.ndarray
    groups: np.ndarray | None = None
    val_groups: int | None = None

    @classmethod
    def of(cls, test: Scored, val: Scored, *, task: str, num_classes: int) -> Predictions:
        """Build predictions from the scores of all images."""

        def parts(scored: Scored) -> dict[str, Part]:
            last = Part.of(scored.last, task)
            return {"last": last, "best": last if scored.best is scored.last else Part.of(scored.best, task)}

        labels, val_labels = (scored.labels.cpu().numpy() for scored in (test, val))
        images = np.arange(len(labels))
        return cls(task, num_classes, labels, parts(test), val_labels, parts(val), images)

    def placed(self, dataset: Any, val_groups: int | None = None) -> Predictions:
        """Return a copy with the row numbers and groups of the labelled images of ``dataset``.

        ``val_groups`` is the number of groups of the labelled validation images.
        """
        known = labelled_rows(torch.as_tensor(dataset.labels).cpu()).numpy()
        groups = getattr(dataset, "groups", None)
        groups = None if groups is None else np.asarray(groups, dtype=str)[known]
        return replace(self, images=np.flatnonzero(known), groups=groups, val_groups=val_groups)

    def select(self, rows: np.ndarray) -> Predictions:
        """Return the predictions of some reported images, given by a mask or their places."""
        return replace(
            self,
            labels=self.labels[rows],
            test={which: part.select(rows) for which, part in self.test.items()},
            images=self.images[rows],
            groups=None if self.groups is None else self.groups[rows],
        )

    def weighted(self, which: str) -> Weighted:
        """Weighted metrics of the reported images; without AUC and AUPRC if only some scores are stored."""
        from .weighted import Weighted

        part = self.test[which]
        scores = part.values if part.classes is None else None
        top5 = self.num_classes >= TOP5_FROM and self.labels.ndim == 1
        hits = part.in_top5(self.labels) if top5 else None
        return Weighted(self.labels, part.predicted, self.task, self.num_classes, scores, hits)

    def intervals(self, which: str) -> dict[str, tuple[float, float]]:
        """Bootstrap intervals of the metrics of the reported images, over groups if there are any.

        Metrics that are equal in all resamplings have no interval, except accuracies of 0 and 1.
        """
        weighted, number = self.weighted(which), self.units
        values = bootstrap(weighted.metrics, len(self.labels), self.groups)
        found = {name: ends for name, v in values.items() if (ends := interval(v, number)) is not None}
        for name in {"acc", "top5"} & set(values) - set(found):
            found[name] = share_interval(round(number * float(values[name][0])), number)
        return found

    def described_intervals(self) -> dict[str, Any]:
        """Intervals of both epochs and the resampled units, as stored in a result row."""
        found: dict[str, Any] = {"over": "images" if self.groups is None else "groups", "units": self.units}
        same = self.test["best"] is self.test["last"]
        found["last"] = self.intervals("last")
        found["best"] = found["last"] if same else self.intervals("best")
        return found

    @property
    def units(self) -> int:
        """Number of independent units: groups, or images without groups."""
        return units(len(self.labels), self.groups)[1]

    def content(self) -> bytes:
        """Serialise to the bytes of an ``.npz`` file; deterministic.

        Scores take at most 2 MB, or 60 bytes per image, per split and epoch before compression.
        """
        arrays: dict[str, Any] = {
            "task": np.array(self.task),
            "num_classes": np.array(self.num_classes),
            "labels": self.labels.astype(np.int32),
            "images": self.images.astype(np.int32),
            "val_labels": self.val_labels.astype(np.int32),
        }
        if self.groups is not None:
            arrays["groups"] = self.groups
        if self.val_groups is not None:
            arrays["val_groups"] = np.array(self.val_groups)
        for split, parts in (("test", self.test), ("val", self.val)):
            for which in EPOCHS if parts["best"] is not parts["last"] else EPOCHS[:1]:
                arrays |= parts[which].arrays(f"{split}_{which}")
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        return buffer.getvalue()

    @classmethod
    def load(cls, path: str | os.PathLike) -> Predictions:
        """Read a file.

        Raises:
            UserError: The file is missing or damaged.
        """
        try:
            with np.load(check_file(path), allow_pickle=False) as file:
                content = dict(file)
            test, val = (
                {which: Part.read(content, f"{split}_{which}") for which in EPOCHS}
                for split in ("test", "val")
            )
            return cls(
                str(content["task"]), int(content["num_classes"]), content["labels"], test,
                content["val_labels"], val, content["images"], content.get("groups"),
                int(content["val_groups"]) if "val_groups" in content else None,
            )  # fmt: skip
        except UserError as error:
            raise UserError(f"The scores of a result row: {error}") from error
        except Exception as error:
            # Damaged bytes can fail anywhere in the readers of ZIP and arrays.
            raise UserError(f"'{path}' holds no scores of images ({error}).") from error
