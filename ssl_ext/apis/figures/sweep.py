"""The figure of a sweep over config keys."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from ssl_ext.apis.sweep.grid import value_of
from ssl_ext.apis.sweep.points import Point, Summary, accuracies, accuracy_lines
from ssl_ext.errors import UserError, user_errors
from ssl_ext.evaluation.significance import chance_difference
from ssl_ext.json_files import read_json
from ssl_ext.names import SWEEP_STYLES
from ssl_ext.visualization import sweep_heatmap, sweep_lines


def grid_figure(
    folder: str | os.PathLike,
    *,
    x: str | None = None,
    y: str | None = None,
    protocol: str | None = None,
    style: str = "lines",
    where: Sequence[str] = (),
) -> Figure:
    """Accuracy over one or two settings of a sweep, mean and deviation over its seeds (Fig. 4 of TriMix).

    Args:
        folder: Folder of a sweep, with ``sweep.json``.
        x: Swept key on the horizontal axis, or its last part (``batch_size``); by default the first.
        y: Swept key with a line (or a row) for each value; by default the second, if there is one.
        protocol: Protocol of the sweep; by default the first.
        style: ``'lines'``, or ``'map'`` with a coloured cell for each pair.
        where: ``key=value`` for each further key, to draw the points with that value.

    Raises:
        UserError: No sweep, an unknown key, value or protocol, or keys without a value.
    """
    summary = _read(Path(folder) / "sweep.json")
    axes, points = summary.axes, summary.points
    protocol = protocol or summary.protocols[0]
    if protocol not in summary.protocols:
        raise UserError(f"--protocol is {protocol!r}; the sweep has {', '.join(summary.protocols)}.")
    if style not in SWEEP_STYLES:
        raise UserError(f"--style is {style!r}; allowed are {', '.join(SWEEP_STYLES)}.")
    for text in where:
        name, _, value = text.partition("=")
        axis = _axis(name, axes, "--where")
        known = dict.fromkeys(str(point.settings[axis]) for point in points)
        points = [point for point in points if str(point.settings[axis]) == str(value_of(value))]
        if not points:
            raise UserError(f"--where {text}: the sweep has {axis} = {', '.join(known)}.")
        axes = [name for name in axes if name != axis]
    if not axes:
        raise UserError("--where fixes every key of the sweep; leave at least one to draw.")
    x = _axis(x, axes, "--x") if x else next(name for name in axes if not y or name != _axis(y, axes, "--y"))
    rest = [name for name in axes if name != x]
    y = _axis(y, rest, "--y") if y else next(iter(rest), None)
    if left := [name for name in rest if name != y]:
        raise UserError(f"The sweep varies {', '.join(left)} too: choose a value by --where {left[0]}=VALUE.")
    if style == "map" and y is None:
        raise UserError("--style map needs two swept keys; the sweep has one.")

    shown = [name for name in (x, y) if name is not None]
    reordered = [Point(**{**vars(p), "settings": {name: p.settings[name] for name in shown}}) for p in points]
    lines = accuracy_lines(reordered, protocol)
    label = f"{'kNN' if protocol == 'knn' else protocol} accuracy (%)"
    with user_errors(str(folder)):
        if style == "map" and y is not None:
            noise = chance_difference(accuracies(points, protocol))
            return sweep_heatmap(lines, x_label=_words(x), y_label=_words(y), label=label, noise=noise)
        return sweep_lines(lines, x_label=_words(x), legend=_words(y) if y else None, label=label)


def _read(path: Path) -> Summary:
    if not path.exists():
        raise UserError(f"'{path}' does not exist; give the folder of a sweep.")
    summary = read_json(path, Summary, "a sweep.json of tools/sweep.py")
    if not (summary.axes and summary.points and summary.protocols):
        raise UserError(f"'{path}' has no points.")
    for number, point in enumerate(summary.points, start=1):
        lacking = [axis for axis in summary.axes if axis not in point.settings]
        if point.status == "done":
            lacking += [f"acc of {p}" for p in summary.protocols if point.last.get(p, {}).get("acc") is None]
        if lacking:
            raise UserError(f"'{path}': point {number} lacks {', '.join(lacking)}.")
    return summary


def _axis(word: str, axes: Sequence[str], option: str) -> str:
    """Return the swept key with this name, or the only key that ends with it."""
    found = [name for name in axes if name == word] or [
        name for name in axes if any(key == word or key.endswith(f".{word}") for key in name.split("+"))
    ]
    if len(found) != 1:
        state = "is not one of" if not found else "is more than one of"
        raise UserError(f"{option} {word!r} {state} the keys to draw: {', '.join(axes)}.")
    return found[0]


def _words(axis: str) -> str:
    """The last part of each key, one per line."""
    return "\n+".join(key.rpartition(".")[2] for key in axis.split("+"))
