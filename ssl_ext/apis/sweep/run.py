"""Train and evaluate every point of a grid over config keys."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from ssl_ext.apis.evaluate import evaluate
from ssl_ext.config.load import load_config, parse_options
from ssl_ext.config.networks import build_model
from ssl_ext.config.training import REQUIRED
from ssl_ext.engine import newest_checkpoint
from ssl_ext.errors import UserError
from ssl_ext.evaluation import read_results, text_hash
from ssl_ext.files import check_writable, write_text
from ssl_ext.json_files import read_json
from ssl_ext.names import DEFAULT_PROTOCOLS as PROTOCOLS
from ssl_ext.processes import ends_with_me
from ssl_ext.visualization import save_figure, sweep_lines

from .grid import Axis, Setting, parse_axis, settings_of, value_of
from .points import Point, State, accuracy_lines

OWN_SWITCHES = ("--work-dir", "--resume", "--seed", "--cfg-options")
RESULTS, STATE, LOG = "results.json", "point.json", "point.log"


def sweep(
    config: str | os.PathLike,
    grid: Sequence[str],
    *,
    train_tool: str | os.PathLike | None = None,
    work_dir: str | os.PathLike | None = None,
    protocols: Sequence[str] = PROTOCOLS,
    seeds: Sequence[int] = (0,),
    options: Sequence[str] = (),
    train_args: Sequence[str] = (),
) -> list[Point]:
    """Train and evaluate every point of a grid, each in a separate folder under ``work_dir``.

    Each training is a separate process, so that a crash affects one point only; its output and errors go to
    ``point.log`` in its folder. Finished points are skipped and unfinished ones resumed. ``sweep.json`` is
    written after every point. For one or two axes there is a figure ``accuracy_<protocol>`` over the first
    axis, with a line for each value of the second.

    Args:
        config: Path of a config file.
        grid: Axes as ``'key=a,b,c'``, or ``'key1+key2=a,b,c'`` for keys that take the same value.
        train_tool: Training program; default: this package's.
        work_dir: Default ``work_dirs/<config name>/sweep``.
        protocols: ``'knn'`` and ``'linear'``.
        seeds: Every point is trained once with each of them.
        options: Config keys to override at all points, as ``'key=value'``.
        train_args: More arguments of the training tool.

    Returns:
        All points, in the order of the grid.

    Raises:
        UserError: Bad input, found before anything is written.
    """
    if wrong := [name for name in protocols if name not in PROTOCOLS]:
        raise UserError(f"protocols: {', '.join(wrong)} unknown; allowed are {', '.join(PROTOCOLS)}.")
    if not protocols:
        raise UserError(f"protocols: give at least one of {', '.join(PROTOCOLS)}.")
    if own := [arg for arg in train_args if _is_own(arg)]:
        raise UserError(f"{own[0]} is set by the sweep (which has --work-dir, --seeds and --cfg-options).")
    axes = [parse_axis(text) for text in grid]
    base = load_config(config, parse_options(options), required=(*REQUIRED, "evaluation_dataset"))
    _check_keys(base, axes)
    folder = Path(work_dir or Path("work_dirs") / Path(config).stem / "sweep")
    runs = [
        _Run(config, setting, folder, options, train_args, protocols) for setting in settings_of(axes, seeds)
    ]
    check_writable(folder, "--work-dir")
    for run in runs:
        run.check()

    points = [run.point for run in runs]
    for number, run in enumerate(runs, start=1):
        name = Path(run.point.folder).name
        print_log(f"Point {number} of {len(runs)}: {name}", logger="current")
        run.go(train_tool)
        print_log(f"Point {number} of {len(runs)}: {run.point.status}", logger="current")
        summary = dict(
            config=str(config),
            options=list(options),
            train_args=list(train_args),
            protocols=list(protocols),
            axes=[axis.name for axis in axes],
            points=[asdict(point) for point in points],
        )
        _write_json(folder / "sweep.json", summary)
    if len(axes) <= 2:
        for protocol in protocols:
            if lines := accuracy_lines(points, protocol):
                legend = axes[1].label.replace("+", "\n+") if len(axes) == 2 else None
                words = f"{'kNN' if protocol == 'knn' else protocol} accuracy (%)"
                figure = sweep_lines(lines, x_label=axes[0].label, legend=legend, label=words)
                save_figure(figure, folder / f"accuracy_{protocol}")
    return points


class _Run:
    """One point of the sweep: check, train, evaluate."""

    def __init__(
        self,
        config: str | os.PathLike,
        setting: Setting,
        sweep_dir: Path,
        options: Sequence[str],
        train_args: Sequence[str],
        protocols: Sequence[str],
    ) -> None:
        self.config_file, self.protocols, self.train_args = str(config), list(protocols), list(train_args)
        self.options = [*options, *setting.options]
        self.config = load_config(config, parse_options(self.options))
        self.folder = sweep_dir / setting.folder
        self.point = Point(
            settings={name: value_of(text) for name, text in setting.values},
            seed=setting.seed,
            folder=str(self.folder),
            log=str(self.folder / LOG),
        )
        plain = self.config.to_dict()
        judged = {key: plain.pop(key, None) for key in ("evaluation", "evaluation_dataset")}
        plain.pop("work_dir", None)
        # Hashes of the settings of training and evaluation, to detect finished runs.
        self.training = _hash([plain, setting.seed, self.train_args])
        self.judging = _hash([judged, self.protocols])

    def _state(self) -> State | None:
        path = self.folder / STATE
        return read_json(path, State, "a point.json of tools/sweep.py") if path.exists() else None

    def check(self) -> None:
        """Raise UserError if the point cannot be trained, or its folder contains another run."""
        state = self._state()
        if state and state.training != self.training:
            raise UserError(
                f"'{self.folder}' was trained with another config, other options or other training "
                "arguments: give another --work-dir, or delete it."
            )
        if not (state and state.trained):
            build_model(self.config)

    def go(self, train_tool: str | os.PathLike | None) -> None:
        """Train and evaluate the point as far as needed; a failure is recorded, not raised."""
        try:
            state = self._state() or State(self.training)
            if not state.trained:
                _write_json(self.folder / STATE, vars(state))
                if not self._train(train_tool):
                    return
                state.trained = True
                _write_json(self.folder / STATE, vars(state))
            if state.judging != self.judging or not (self.folder / RESULTS).is_file():
                self._evaluate()
                state.judging = self.judging
                _write_json(self.folder / STATE, vars(state))
            rows = [row for row in read_results(self.folder / RESULTS) if row.protocol in self.protocols]
        except Exception as error:
            # No error (out of memory, a full disk, ...) may stop the other points.
            with open(self.point.log, "a", encoding="utf-8") as log:
                traceback.print_exc(file=log)
            self._fail(f"{type(error).__name__}: {error}")
            return
        # The newest rows are the first in the file.
        self.point.last = {row.protocol: row.last for row in reversed(rows)}
        self.point.best = {row.protocol: row.best for row in reversed(rows)}
        self.point.status, self.point.reason = "done", None

    def _fail(self, reason: str) -> None:
        self.point.status, self.point.reason = "failed", reason

    def _train(self, train_tool: str | os.PathLike | None) -> bool:
        arguments = ["--work-dir", str(self.folder), "--seed", str(self.point.seed)]
        # --init applies to the first start only.
        arguments += ["--resume", "auto", *self.train_args]
        program = [str(train_tool)] if train_tool else ["-m", "ssl_ext.cli", "train"]
        command = [sys.executable, *program, self.config_file, *arguments]
        command += ["--cfg-options", *self.options]
        with open(self.point.log, "ab") as log:
            log.write(os.fsencode(f"$ {shlex.join(command)}\n"))
            log.flush()
            # If the sweep is killed, its training saves and exits.
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **ends_with_me(signal.SIGTERM)},
                check=False,
            )
        if done.returncode == 0:
            return True
        lines = Path(self.point.log).read_text(encoding="utf-8", errors="replace").split("\n")
        said = next((line for line in reversed(lines) if line.strip()), "")
        self._fail(f"training exited with status {done.returncode}: {said}")
        return False

    def _evaluate(self) -> None:
        checkpoint = newest_checkpoint(self.folder)
        if checkpoint is None:
            raise UserError(f"training wrote no checkpoint to '{self.folder}'.")
        evaluate(
            self.config, checkpoint, protocols=self.protocols, out_dir=self.folder, seeds=[self.point.seed]
        )


def _check_keys(config: Config, axes: Sequence[Axis]) -> None:
    for key in (key for axis in axes for key in axis.keys):
        place: Any = config
        *parents, _ = key.split(".")
        for part in parents:
            inside = isinstance(place, list) and part.isdigit() and int(part) < len(place)
            if not inside and part not in place:
                raise UserError(f"The config has no '{part}', so {key} cannot be set.")
            place = place[int(part)] if inside else place[part]


def _is_own(argument: str) -> bool:
    # argparse accepts abbreviated switches.
    name = argument.partition("=")[0]
    return len(name) > 2 and any(switch.startswith(name) for switch in OWN_SWITCHES)


def _hash(content: Any) -> str:
    return text_hash(json.dumps(content, sort_keys=True, default=str))


def _write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=2, default=str))
