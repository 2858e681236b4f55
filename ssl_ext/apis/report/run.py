"""Join the results of many evaluations into tables and one page."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ssl_ext.errors import UserError
from ssl_ext.evaluation import ResultRow
from ssl_ext.evaluation.metric_names import METRICS
from ssl_ext.evaluation.stats import shown_metrics
from ssl_ext.files import check_writable, distinct_names, replacing
from ssl_ext.names import REPORT_LAYOUTS
from ssl_ext.visualization import loss_curves, read_scalars

from .budgets import budget_grid
from .classes import class_tables, classes_csv
from .comparison import Comparison, compare
from .grid import Grid
from .page import Picture, render_page
from .references import References, read_references
from .rows import ResultFile, find_results, named_rows
from .text import long_grid, measurements_csv

logger = logging.getLogger(__name__)

BUDGET_METRICS = ("acc", "auc")
KINDS = {".png": "image/png", ".svg": "image/svg+xml"}
MAX_FIGURES = 60
MAX_BYTES = 4 * 2**20  # of one figure
# Logged values that are not drawn as curves.
ROUTINE = {
    *("step", "epoch", "iter", "lr", "base_lr", "feature_std_uniform"),
    *("time", "data_time", "images_per_second", "memory", "peak_memory_mib"),
}


def report(
    places: Sequence[str | os.PathLike],
    *,
    out_dir: str | os.PathLike = "report",
    metrics: Sequence[str] | None = None,
    which: str = "last",
    join_runs: bool = False,
    layout: str = "long",
    references: str | os.PathLike | None = None,
    smoothing: float = 0.6,
    specificity: float = 0.9,
) -> tuple[list[Grid], list[Path]]:
    """Join all ``results.json`` in folders; rows with different settings are not averaged.

    Written to ``out_dir``: ``results.csv`` (all metrics in full precision), ``classes.csv`` (per-class
    metrics from stored scores), ``results.md``, ``results.tex`` and ``report.html``, one file with
    tables, settings, confusion matrices, logged curves of the runs and the PNG and SVG figures of the result
    folders. Files are written atomically.

    Args:
        places: Folders, searched recursively, or result files.
        out_dir: Output folder.
        metrics: Columns of the tables; the default depends on the protocols.
        which: ``'last'`` epoch, or the ``'best'`` epoch on validation.
        join_runs: Treat runs of one algorithm and config file as repeats, mean ± std over them.
        layout: ``'long'``: a row per measurement; ``'budgets'``: a row per method and a column per number of
            labels.
        references: Table of a paper, or a folder of tables such as ``configs/papers``, with published figures
            to show in brackets with ``'budgets'`` (:mod:`ssl_ext.config.papers`).
        smoothing: Smoothing of the curves, in [0, 1).
        specificity: Specificity on validation images, in (0, 1), at which each class's sensitivity is shown.

    Returns:
        The tables (clusterings have a separate one), and the paths of the files.

    Raises:
        UserError: No results, a damaged file, or an unknown metric or option.
    """
    if which not in ("last", "best"):
        raise UserError(f"which={which!r}: allowed are last, best.")
    if layout not in REPORT_LAYOUTS:
        raise UserError(f"layout={layout!r}: allowed are {', '.join(REPORT_LAYOUTS)}.")
    if references and layout != "budgets":
        raise UserError(f"--references {references} is for --layout budgets.")
    published = read_references(references) if references else References()
    if not 0 <= smoothing < 1:
        raise UserError(f"smoothing={smoothing}: a number from 0 to below 1 is needed.")
    if not 0 < specificity < 1:
        raise UserError(f"specificity={specificity}: a number above 0 and below 1 is needed.")
    files = find_results(places)
    check_writable(out_dir, "--out")
    comparisons = compare(named_rows(files, join_runs=join_runs), which=which)
    found = _found(comparisons)
    title = f"{which} epoch, mean ± std over n seeds and draws"
    groups = _columns(found, metrics, [row for file in files for row in file.rows])
    if layout == "budgets":
        tables = [budget_grid(comparisons, metrics or BUDGET_METRICS, title=title, references=published)]
    else:
        tables = [long_grid(comparisons, columns, title=title) for columns in groups]
    classes = class_tables(comparisons, specificity)
    runs = _runs(files)
    figures, left_out = _figures(places, files, runs)
    page = render_page(
        comparisons,
        metrics or found,
        which=which,
        curves=_curves(runs, smoothing),
        figures=figures,
        classes=classes,
        specificity=specificity,
        sources=[_source(file) for file in files],
        remarks=[f"{left_out} figures are not shown, only the first {MAX_FIGURES}."] * bool(left_out),
    )
    texts = {
        "results.csv": measurements_csv(comparisons),
        "classes.csv": classes_csv(classes, specificity),
        "results.md": "\n".join(table.markdown() for table in tables),
        "results.tex": "\n".join(
            table.latex(f"results-{number}" if len(tables) > 1 else "results")
            for number, table in enumerate(tables, start=1)
        ),
        "report.html": page,
    }
    written = [Path(out_dir) / name for name in texts]
    with ExitStack() as stack:  # all are written before the first replaces its predecessor
        for path, text in zip(written, texts.values(), strict=True):
            stack.enter_context(replacing(path)).write(text.encode(errors="backslashreplace"))
    return tables, written


def _found(comparisons: Sequence[Comparison]) -> list[str]:
    """Every metric of the results; first those of :data:`METRICS`, in its order."""
    found = dict.fromkeys(m for c in comparisons for line in c.lines for m in line.stats)
    return [*(metric for metric in METRICS if metric in found), *(m for m in found if m not in METRICS)]


def _columns(
    found: Sequence[str], asked: Sequence[str] | None, rows: Sequence[ResultRow]
) -> list[Sequence[str]]:
    """The metrics of each table for terminal and paper."""
    if asked:
        if unknown := [metric for metric in asked if metric not in found]:
            raise UserError(f"--metric {unknown[0]}: no result has it; there are {', '.join(found)}.")
        return [asked]
    groups = [[metric for metric in group if metric in found] for group in shown_metrics(rows)]
    return [group for group in groups if group] or [found]


def _runs(files: Sequence[ResultFile]) -> dict[str, Path]:
    """Work directories of the results that have logs, by distinct names."""
    folders: dict[Path, None] = {}
    for file in files:
        near = [file.path.parent, file.path.parent.parent]
        checkpoints = [row.source.get("checkpoint") or {} for row in file.rows]
        near += [Path(checkpoint["path"]).parent for checkpoint in checkpoints if "path" in checkpoint]
        for folder in near:
            if any(folder.glob("*/vis_data/*.json")):
                folders[folder.resolve()] = None
    return dict(zip(distinct_names(list(folders)), folders, strict=True)) if folders else {}


def _curves(runs: dict[str, Path], smoothing: float) -> list[Picture]:
    """Curves of the loss terms, and of all other logged values."""
    logs: dict[str, list[dict[str, Any]]] = {}
    for name, folder in runs.items():
        try:
            logs[name] = read_scalars(folder)
        except ValueError as error:
            logger.warning("no curves of %s: %s", name, error)
    keys = dict.fromkeys(key for records in logs.values() for record in records for key in record).keys()
    # A validation value is drawn with that of the training batches.
    numbers = [key for key in keys if key not in ROUTINE and key.removeprefix("val_") not in keys - {key}]
    losses = [key for key in numbers if key == "loss" or key.startswith("loss_")]
    words = {
        "Loss and its terms": losses,
        "Other figures in the log": [key for key in numbers if key not in losses],
    }
    return [
        Picture.from_figure(
            loss_curves(logs, chosen, smoothing),
            f"{caption} of {', '.join(logs)}; values of more than 30 steps logged with the training "
            f"loss are smoothed (moving average, {smoothing:g}), over the pale raw values.",
            f"Line charts of {', '.join(chosen)} over training for {', '.join(logs)}",
        )
        for caption, chosen in words.items()
        if chosen
    ]


def _figures(
    places: Sequence[str | os.PathLike], files: Sequence[ResultFile], runs: dict[str, Path]
) -> tuple[list[Picture], int]:
    """Image files in ``places``, result folders and runs, each content once, and the number of omitted ones.

    Files called ``curves`` are left out, because the page draws the curves of the runs itself.
    """
    folders = [Path(place) for place in places if Path(place).is_dir()]
    folders += [folder for file in files for folder in (file.path.parent, file.path.parent.parent)]
    folders += list(runs.values())
    paths: dict[bytes, Path] = {}
    drawn = {"curves"} if runs else set()
    for folder in dict.fromkeys(folder.resolve() for folder in folders):
        for path in (*sorted(folder.iterdir()), *sorted(folder.glob("figures/*"))):
            known = path.stem in drawn or (path.suffix == ".svg" and path.with_suffix(".png").exists())
            if path.suffix in KINDS and not known and path.is_file() and path.stat().st_size <= MAX_BYTES:
                paths.setdefault(path.read_bytes(), path)
    chosen = list(paths.values())[:MAX_FIGURES]
    names = distinct_names(chosen) if len(chosen) > 1 else [path.name for path in chosen]
    pictures = [
        Picture(
            name.removesuffix(path.suffix),
            f"Figure {path.stem.replace('_', ' ').replace('-', ' ')}",
            path.read_bytes(),
            KINDS[path.suffix],
        )
        for name, path in zip(names, chosen, strict=True)
    ]
    return pictures, len(paths) - len(chosen)


def _source(file: ResultFile) -> dict[str, str]:
    """A row of the table of sources."""
    sources = [row.source for row in file.rows]
    checkpoints = [source["checkpoint"] for source in sources if source.get("checkpoint")]
    versions = sources[0].get("versions") or {}
    parts: dict[str, list[Any]] = {
        "results": [file.path],
        "checkpoint": [f"{one.get('path', '-')} ({one.get('sha256', '-')})" for one in checkpoints],
        "config": [f"{source.get('config')} ({source.get('config_hash')})" for source in sources],
        "device": [source.get("device", "-") for source in sources],
        "versions": [f"{name} {version}" for name, version in versions.items()],
    }
    return {name: ", ".join(dict.fromkeys(map(str, values))) or "-" for name, values in parts.items()}
