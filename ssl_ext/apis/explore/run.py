"""Write the explorer page of one run, or of two side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path

from mmengine.config import Config

from ssl_ext.errors import UserError
from ssl_ext.evaluation.identity import dataset_name
from ssl_ext.files import check_writable, write_text
from ssl_ext.names import PROJECTIONS
from ssl_ext.registry import registered_only

from .page import render_page
from .points import NONE, Points
from .projector import write_projector
from .runs import choose_split, find_runs, load_images
from .side import make_side
from .thumbnails import make_sheets, read_thumbnails


def explore(
    runs: Sequence[str | os.PathLike],
    *,
    config: Config | str | os.PathLike | None = None,
    split: str | None = None,
    projections: Sequence[str] = ("tsne",),
    limit: int = 10_000,
    seed: int = 0,
    out: str | os.PathLike | None = None,
    projector: bool = False,
    names: bool = True,
    options: dict | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> list[Path]:
    """Write a self-contained page with the images of a split as points of a projection of their features.

    Features are those of evaluation, cached in ``evaluation/features`` beside each checkpoint. Both runs are
    shown on the images of the first.

    Args:
        runs: One or two work directories, whose newest checkpoint is read, or checkpoints.
        config: Config of the runs; default: the one in each checkpoint.
        split: Split of ``evaluation_dataset``; by default test, val without a test split, or the training
            images without ``evaluation_dataset``.
        projections: ``'tsne'`` (of 50 principal components) and ``'umap'`` beside ``'pca'``.
        limit: Maximum number of images, drawn at random.
        seed: Seed of the choice of images, projections and clusters.
        out: The page; default ``explore.html`` in the folder of the first checkpoint.
        projector: Also write the features for TensorBoard's projector, into each run's newest log folder.
        names: Name files and groups; otherwise groups are numbers, and files are left out.
        options: Config keys to override.
        say: Called with a line for each step.

    Returns:
        The page, and the folders of the projector.

    Raises:
        UserError: Bad input, or umap-learn is missing.
    """
    if unknown := [name for name in projections if name not in PROJECTIONS]:
        raise UserError(f"--projections is {unknown[0]!r}; allowed are {', '.join(PROJECTIONS)}.")
    if "umap" in projections and find_spec("umap") is None:
        raise UserError("--projections umap needs the package umap-learn (pip install umap-learn).")
    if not 2 <= limit < NONE:
        raise UserError(f"--limit is {limit}; 2 to {NONE - 1} images are allowed.")
    found = find_runs(runs, config, options)
    path = Path(out) if out else found[0].checkpoint.parent / "explore.html"
    check_writable(path.parent, "--out", "The page")
    with registered_only() if config is None else nullcontext():
        data = load_images(found[0])
        name, dataset = choose_split(data, split)
        embedded = [run.embed(data, seed) for run in found]
    root = str(data.dataset.get("data_root", "")).rstrip("/")
    points = Points.choose(dataset, name, limit, seed, root=root, names=names)
    sides = []
    for run, network in zip(found, embedded, strict=True):
        say(f"features of {run.name}")
        sides.append(make_side(network, points, dataset, projections, seed, say))
    images = read_thumbnails(dataset, points.rows, **data.loading)
    named = {run.name: side for run, side in zip(found, sides, strict=True)}
    write_text(path, render_page(dataset_name(data.dataset), points, named, make_sheets(images)))
    written = [path]
    if projector:
        for run, side in zip(found, sides, strict=True):
            say(f"features of {run.name} for the projector")
            written.append(write_projector(run.checkpoint.parent, points, side, images))
    return written
