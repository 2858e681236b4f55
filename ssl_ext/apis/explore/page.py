"""The explorer page, one self-contained HTML file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import numpy as np
from markupsafe import Markup

from ssl_ext.apis.report.page import template

from .points import NONE, Categories, Points
from .side import Side
from .thumbnails import Sheets

STEPS = 65535
"""Steps of a coordinate in the page."""
SIMILARITY = 10_000
"""Steps of a cosine similarity in the page."""


def render_page(source: str, points: Points, sides: Mapping[str, Side], sheets: Sheets) -> str:
    """HTML of a page with one or two named sides; ``source`` is the name of the data set.

    The content security policy of the page allows its own script and style, and images in it.
    """
    script = files(__package__).joinpath("page.js").read_text("utf-8")
    style = template("report/style.css.j2").render() + files(__package__).joinpath("page.css").read_text(
        "utf-8"
    )
    return template("explore/page.html.j2").render(
        title=", ".join(sides),
        script=Markup(script),
        style=Markup(style),
        script_hash=_hash(script),
        style_hash=_hash(style),
        anonymous=points.anonymous,
        data={"source": source, **page_data(points, sides, sheets)},
    )


def page_data(points: Points, sides: Mapping[str, Side], sheets: Sheets) -> dict[str, Any]:
    """Content of the page as JSON values; arrays are base64 of their little-endian bytes."""
    labels, groups = points.texts(points.labels), points.groups
    labelled = any(text is not None for text in labels)
    classes = points.names if points.labels.ndim == 1 else ()
    predicted = [[] if side.predicted is None else points.texts(side.predicted) for side in sides.values()]
    # Combinations of several labels are numbered alike on both sides.
    names = [
        *classes,
        *sorted({text for texts in (labels, *predicted) for text in texts if text is not None}),
    ]
    shared = {"class": Categories.of(labels, names)} if labelled else {}
    if groups is not None:
        shared["group"] = Categories.of(groups)
    return {
        "split": points.split,
        "count": len(points),
        "rows": _packed(points.rows.numpy(), "<u4"),
        "files": points.files,
        "none": NONE,
        "categories": {name: _categories(found) for name, found in shared.items()},
        "sides": [
            _side(name, side, Categories.of(texts, names))
            for (name, side), texts in zip(sides.items(), predicted, strict=True)
        ],
        "thumbnails": {
            "width": sheets.width,
            "height": sheets.height,
            "cell": sheets.cell,
            "columns": sheets.columns,
            "perSheet": sheets.per_sheet,
            "sheets": [f"data:image/jpeg;base64,{base64.b64encode(one).decode()}" for one in sheets.files],
        },
    }


def _side(name: str, side: Side, predicted: Categories) -> dict[str, Any]:
    number = len(str(int(side.clusters.max())))
    found = {"cluster": Categories.of([f"cluster {cluster:0{number}}" for cluster in side.clusters.tolist()])}
    if side.correct is not None:
        verdicts = {1: "right", 0: "wrong", -1: None}
        right = [verdicts[code] for code in side.correct.tolist()]
        found |= {"correct": Categories.of(right, ("right", "wrong")), "predicted": predicted}
    about = f"PCA {100 * side.explained:.0f} % of the variance"
    if side.accuracy is not None:
        about += f", kNN {100 * side.accuracy:.1f} % right"
    return {
        "name": name,
        "about": about,
        "projections": {key: _packed(_in_steps(plane), "<u2") for key, plane in side.projections.items()},
        "neighbours": _packed(side.neighbours, "<u2"),
        "similarity": _packed(np.round(SIMILARITY * side.similarity), "<i2"),
        "perPoint": side.neighbours.shape[1],
        "categories": {key: _categories(one) for key, one in found.items()},
    }


def _categories(found: Categories) -> dict[str, Any]:
    return {"names": found.names, "codes": _packed(found.codes, "<u2")}


def _in_steps(plane: np.ndarray) -> np.ndarray:
    """Points (N, 2) as x, y pairs in 0 … ``STEPS``, centred, with one scale for both axes; y points down."""
    low, high = plane.min(axis=0), plane.max(axis=0)
    size = max(float((high - low).max()), 1e-12)
    unit = (plane - (low + high) / 2) / size + 0.5
    unit[:, 1] = 1 - unit[:, 1]
    return np.round(STEPS * unit.clip(0, 1))


def _packed(array: np.ndarray, kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(array, np.dtype(kind)).tobytes()).decode()


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
