"""Scores of stored predictions, of all reported images and of the values of a column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ssl_ext.apis.report.classes import figure_text
from ssl_ext.evaluation import Predictions
from ssl_ext.evaluation.bootstrap import share_interval
from ssl_ext.evaluation.operating import Figure, class_figures

NAMES = {
    "acc": "accuracy %", "balanced_acc": "balanced accuracy %", "auc": "AUC", "auprc": "AUPRC", "f1": "F1",
    "kappa": "kappa",
}  # fmt: skip
BY = ("acc", "balanced_acc", "auc")
MAJORITY = "always the most frequent training class"


def overall_scores(predictions: Predictions, which: str) -> dict[str, Figure]:
    """Compute metrics with 95 % intervals: bootstrap, but Wilson's of an accuracy without groups."""
    weights = np.ones((len(predictions.labels), 1), np.float32)
    values = predictions.weighted(which).metrics(weights)
    intervals = predictions.intervals(which)
    found = {name: Figure(float(values[name][0]), intervals.get(name)) for name in NAMES if name in values}
    if predictions.groups is None and predictions.task != "multi-label":
        number, share = len(predictions.labels), found["acc"].value
        ends = share_interval(round(number * share), number, method="wilson")
        found["acc"] = Figure(share, ends)
    return found


def overview(
    method: str, predictions: Predictions, which: str, majority: Mapping[str, float] | None
) -> dict[str, Any]:
    """Table of the metrics of the classifier and of always predicting the most frequent training class."""
    found = overall_scores(predictions, which)
    rows = [{"name": method, "cells": [figure_text(found[name], name) for name in found]}]
    if majority:
        plain = [figure_text(Figure(majority.get(name, np.nan)), name) for name in found]
        rows.append({"name": MAJORITY, "cells": plain})
    heads = [NAMES[name] for name in found]
    return {"title": "Metrics", "first": "classifier", "heads": heads, "rows": rows}


def column_table(
    name: str, members: Mapping[str, np.ndarray], predictions: Predictions, which: str, specificity: float
) -> dict[str, Any]:
    """Table of the counts and scores of each value of a column.

    Args:
        name: Name of the column.
        members: Mask (N,) of the reported images of each value.
        predictions: Predictions of the reported images.
        which: ``'last'`` or ``'best'``.
        specificity: See :func:`ssl_ext.evaluation.operating.class_figures`.
    """
    binary = predictions.task == "binary"
    more = ("sensitivity", "specificity") if binary else ()
    rows = []
    for value, mask in {"all": np.ones(len(predictions.labels), bool), **members}.items():
        part = predictions.select(mask)
        found = overall_scores(part, which)
        if binary:
            found |= class_figures(part, which, specificity=specificity)[1]
        counts = [str(len(part.labels)), "-" if part.groups is None else str(part.units)]
        if binary:
            counts.append(str(int((part.labels == 1).sum())))
        cells = [figure_text(found[metric], metric) if metric in found else "-" for metric in (*BY, *more)]
        rows.append({"name": value, "cells": [*counts, *cells]})
    heads = ["images", "patients or groups", *(["positive images"] if binary else [])]
    heads += [*(NAMES[metric] for metric in BY), *(f"{metric} %" for metric in more)]
    return {"title": name, "first": name, "heads": heads, "rows": rows}


def most_confident(
    confidence: np.ndarray, right: np.ndarray, number: int
) -> dict[str, list[tuple[int, float]]]:
    """Places and confidences of the most confident right and wrong images, most confident first.

    With several labels an image is right if all are; its confidence is the least one of its labels if right,
    and else the largest one of the wrong labels.

    >>> most_confident(np.array([0.9, 0.6, 0.8]), np.array([True, False, True]), 1)
    {'right': [(0, 0.9)], 'wrong': [(1, 0.6)]}
    """
    sure, correct = (array.reshape(len(array), -1) for array in (confidence, right))
    whole = correct.all(axis=1)
    own = np.where(whole, sure.min(axis=1), np.where(correct, 0.0, sure).max(axis=1))
    found = {}
    for name, mask in (("right", whole), ("wrong", ~whole)):
        places: Sequence[int] = np.flatnonzero(mask)[np.argsort(-own[mask], kind="stable")][:number].tolist()
        found[name] = [(place, float(own[place])) for place in places]
    return found
