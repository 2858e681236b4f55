"""The HTML page of a report, one self-contained file: tables, settings, confusion matrices, figures."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from matplotlib.figure import Figure

from ssl_ext.evaluation.metric_names import CLUSTERING, QUALITY
from ssl_ext.evaluation.operating import FIGURES
from ssl_ext.visualization import confusion_heatmap

from .classes import ClassTable, figure_text
from .comparison import Comparison, Line
from .text import (
    MAJORITY,
    majority_cells,
    metric_label,
    notes,
    seconds_text,
    stat_text,
    variant_label,
    wide_grid,
)

WORDS = {"true": "yes", "false": "no", "null": "none", "[]": "none", "{}": "none"}
LABEL_ROWS = (
    "TP and FN: images with the label, predicted with and without it; FP and TN: images without it. The "
    "shade is the fraction of the images with or without the label."
)
NUMBERED_UP_TO = 20  # classes; a larger confusion matrix is shown as a picture


@dataclass(frozen=True)
class Picture:
    """An image of the page: caption, alternative text, content and MIME type."""

    caption: str
    alt: str
    content: bytes
    kind: str = "image/png"

    @classmethod
    def from_figure(cls, figure: Figure, caption: str, alt: str) -> Picture:
        """The figure as PNG."""
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=130, metadata={"Software": None})
        return cls(caption, alt, content.getvalue())

    @property
    def uri(self) -> str:
        """The image as a ``data:`` address."""
        return f"data:{self.kind};base64,{base64.b64encode(self.content).decode()}"


def template(name: str) -> Template:
    """Load a template of :mod:`ssl_ext.apis`, whose variables are escaped."""
    environment = Environment(
        loader=PackageLoader("ssl_ext.apis", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def render_page(
    comparisons: Sequence[Comparison],
    metrics: Sequence[str],
    *,
    which: str,
    curves: Sequence[Picture] = (),
    figures: Sequence[Picture] = (),
    classes: Sequence[ClassTable] = (),
    specificity: float = 0.9,
    sources: Sequence[Mapping[str, str]] = (),
    remarks: Sequence[str] = (),
) -> str:
    """HTML of the page; text is escaped and images are embedded.

    Args:
        comparisons: Measurements to show.
        metrics: Columns of the tables; the overview shows the first.
        which: ``'last'`` or ``'best'``, for headings.
        curves: Figures drawn from logs.
        figures: Image files from the result folders.
        classes: Per-class metrics.
        specificity: Specificity on validation at which their sensitivity is given.
        sources: A row for each result file: path, checkpoint, config, device and versions.
        remarks: Sentences for the head of the page, in addition to those on differing settings.
    """
    overview = wide_grid(comparisons, metrics[0], title="Overview")
    return template("report/page.html.j2").render(
        which=which,
        overview=overview,
        warnings=[*remarks, *notes(comparisons)],
        parts=[_part(data, comparisons, metrics) for data in dict.fromkeys(c.data for c in comparisons)],
        settings=[settings_table(comparison) for comparison in comparisons],
        matrices=[
            matrix_table(comparison, line, counts)
            for comparison in comparisons
            for line in comparison.lines
            if (counts := line.confusion)
        ],
        classes=[class_table(table, specificity) for table in classes],
        curves=curves,
        figures=figures,
        sources=sources,
        measurements=sum(len(line.rows) for comparison in comparisons for line in comparison.lines),
    )


def _part(data: str, comparisons: Sequence[Comparison], metrics: Sequence[str]) -> dict[str, Any]:
    """Tables of one data set: classification, clustering and feature quality."""
    members = [comparison for comparison in comparisons if comparison.data == data]
    kinds = {
        "Classification": [metric for metric in metrics if metric not in (*CLUSTERING, *QUALITY)],
        "Clustering": [metric for metric in metrics if metric in CLUSTERING],
        "Quality of features": [metric for metric in metrics if metric in QUALITY],
    }
    tables = [_table(f"{kind} on {data}", members, columns) for kind, columns in kinds.items()]
    return {"data": data, "tables": [table for table in tables if table["rows"]]}


def _table(title: str, comparisons: Sequence[Comparison], metrics: Sequence[str]) -> dict[str, Any]:
    """Lines that have any of the metrics; the best of comparable lines is marked."""
    lines = [(c, line) for c in comparisons for line in c.lines if any(m in line.stats for m in metrics)]
    shown = [metric for metric in metrics if any(metric in line.stats for _, line in lines)]
    rows = []
    for comparison, line in lines:
        cells = [
            {
                "text": stat_text(line, metric),
                "best": comparison.best(metric, line.variant) is line,
            }
            for metric in shown
        ]
        row = {
            "protocol": variant_label(comparison, line.variant),
            "method": line.method,
            "cells": cells,
            "n": len(line.rows),
            "seconds": seconds_text(line),
            "memory": _memory(line),
        }
        rows.append(row)
    if texts := majority_cells([row for _, line in lines for row in line.rows], shown):
        plain = [{"text": text, "best": False} for text in texts]
        rows.append(
            {"protocol": "-", "method": MAJORITY, "cells": plain, "n": "-", "seconds": "-", "memory": "-"}
        )
    return {"title": title, "metrics": [metric_label(metric) for metric in shown], "rows": rows}


def class_table(table: ClassTable, specificity: float) -> dict[str, Any]:
    """Table cells of the per-class metrics."""
    at = f"{100 * specificity:g} %"
    heads = (
        "sensitivity %",
        "specificity %",
        "PPV %",
        "NPV %",
        "AUC",
        "AUPRC",
        f"sensitivity % at {at}",
        "specificity reached %",
    )
    rows = [
        {"name": table.names[index], "cells": [figure_text(figures[name], name) for name in FIGURES]}
        for index, figures in table.figures.items()
    ]
    return {
        "title": table.title,
        "first": "class",
        "n": len(table.line.rows),
        "heads": heads,
        "rows": rows,
    }


def _memory(line: Line) -> str:
    """Peak memory in MiB: of the device if there was one, else of the process."""
    mebibytes = line.mean_cost("peak_device_mib") or line.mean_cost("peak_rss_mib")
    return "-" if mebibytes is None else f"{mebibytes:.0f}"


def settings_table(comparison: Comparison) -> dict[str, Any]:
    """Settings that all variants of a comparison share, and those of each."""
    return {
        "title": f"{comparison.data}: {comparison.condition.words}",
        "common": _readable(comparison.common),
        "variants": {name: _readable(values) for name, values in comparison.variants.items() if name},
    }


def _readable(settings: Mapping[str, str]) -> dict[str, str]:
    """Settings without underscores, with words for JSON's constants and ``key: value`` for its objects."""
    found = {}
    for name, text in settings.items():
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        if isinstance(value, dict):
            text = ", ".join(f"{key}: {WORDS.get(json.dumps(item), item)}" for key, item in value.items())
        found[name.replace("_", " ")] = WORDS.get(text, text)
    return found


def matrix_table(comparison: Comparison, line: Line, counts: list) -> dict[str, Any]:
    """Counts with their share of the true class, or a picture, and class names.

    Counts (L, 2, 2) of labels have a row for each label, with the share of the images with or without it.
    """
    names = line.rows[0].source.get("classes") or []
    classes = names if len(names) == len(counts) else [str(index) for index in range(len(counts))]
    title = f"{line.method}, {comparison.data}, {variant_label(comparison, line.variant)}"
    if len(line.rows) > 1:
        title += f", sum of {len(line.rows)} repeats"
    labels = np.ndim(counts) == 3
    about: dict[str, Any] = {
        "title": title,
        "classes": classes,
        "corner": "label" if labels else "true \\ predicted",
        "heads": ["TP", "FN", "FP", "TN"] if labels else classes,
        "note": LABEL_ROWS if labels else "",
        "rows": [],
        "picture": None,
    }
    if len(counts) > NUMBERED_UP_TO and not labels:
        about["picture"] = Picture.from_figure(
            confusion_heatmap(counts, classes), title, f"Confusion matrix of {title}"
        )
        return about
    for row in counts:
        parts = [(part, max(1, sum(part))) for part in ([row[1][::-1], row[0][::-1]] if labels else [row])]
        about["rows"].append(
            [{"count": n, "share": round(n / total, 3)} for part, total in parts for n in part]
        )
    return about
