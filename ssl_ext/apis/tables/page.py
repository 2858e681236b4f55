"""The HTML page of a table, one self-contained file."""

from __future__ import annotations

import os
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from ssl_ext.apis.report.page import template
from ssl_ext.apis.report.references import Published

from .curves import HEIGHT, WIDTH, loss_points
from .headings import header, reference_text, table_title
from .jobs import DONE, FAILED, LOG, OPEN, RUN, RUNNING, Job, State
from .layout import Layout
from .outputs import difference_words, figures_grid, interval_text, value_text
from .plan import JOBS
from .progress import duration
from .status import STATUSES, counts, left_out_lines, run_lines, status_text

REFRESH = 30  # seconds, while jobs are open


def render_table(layout: Layout, folder: Path) -> str:
    """HTML of a table whose files are in ``folder``; links are relative to it, and all text is escaped."""
    number, published = counts(layout), Published()
    total = len(layout.jobs) or 1
    running = {run.job: run.words for row in layout.boxes for box in row for run in box.of_status(RUNNING)}
    states = {
        name: state.status if state.status != RUNNING or name in running else OPEN
        for name, state in layout.states.items()
    }
    return template("tables/page.html.j2").render(
        name=layout.plan.name,
        source=table_title(layout),
        refresh=REFRESH if number[RUNNING] or number[OPEN] else None,
        updated=time.strftime("%Y-%m-%d %H:%M"),
        bar=[(status, number[status], round(100 * number[status] / total, 2)) for status in STATUSES],
        header=header(layout),
        heads=len(layout.plan.rows),
        reference=reference_text(layout),
        compared=any(figure.difference for *_, figure in layout.figures()),
        rows=[
            {
                "head": head,
                "cells": [_cell(layout, i, j, published) for j in range(len(layout.columns))],
            }
            for i, head in enumerate(layout.heads)
        ],
        notes=[*figures_grid(layout).notes, *left_out_lines(layout)],
        failed=run_lines(layout, FAILED),
        running=run_lines(layout, RUNNING),
        jobs=[
            _job(job, layout.states[name], states[name], running.get(name, ""), folder)
            for name, job in layout.jobs.items()
        ],
        size=(WIDTH, HEIGHT),
    )


def _cell(layout: Layout, row: int, column: int, published: Published) -> dict[str, Any]:
    box, figure = layout.boxes[row][column], layout.figure(row, column)
    beside = ""
    if figure and figure.printed != "-":
        beside = published.beside(figure.printed, "", None, figure.reasons).strip()
    return {
        "text": value_text(figure, box) if figure else status_text(box),
        "status": DONE if figure else status_text(box),
        "best": figure is not None and figure.best,
        "beside": beside,
        "why": "; ".join(figure.reasons) if figure else "",
        "lines": [interval_text(figure, box), *difference_words(figure, box)] if figure else [],
        "note": box.note or "",
        "runs": [
            {
                "seed": run.seed,
                "status": run.status,
                "words": f"seed {run.seed}: {run.status}" + (f", {run.words}" if run.words else ""),
                "href": f"../{JOBS}/{run.job}/{LOG}",
            }
            for run in box.runs
        ],
    }


def _job(job: Job, state: State, status: str, words: str, folder: Path) -> dict[str, Any]:
    run = folder.parent / JOBS / job.id / RUN
    return {
        "about": " ".join([job.config, *job.options]),
        "stage": job.stage,
        "seed": job.seed,
        "status": status,
        "words": words or state.said or "",
        "time": duration(state.seconds) if state.seconds else "",
        "tries": state.tries,
        "host": state.host,
        "href": f"../{JOBS}/{job.id}/{RUN}/" if run.exists() else None,
        "log": f"../{JOBS}/{job.id}/{LOG}" if (run.parent / LOG).exists() else None,
        "curve": _curve(str(run), _stamp(run)),
    }


def _stamp(run: Path) -> tuple[int, ...]:
    """Sizes of the logs of a run."""
    return tuple(os.stat(log).st_size for log in sorted(run.glob("*/vis_data/scalars.json")))


@lru_cache(10_000)
def _curve(run: str, stamp: tuple[int, ...]) -> str:
    return loss_points(Path(run)) if stamp else ""
