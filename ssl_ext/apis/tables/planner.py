"""The jobs that fill cells, each job once."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ssl_ext.config.load import load_config, parse_options
from ssl_ext.config.papers import Cell as TableCell
from ssl_ext.config.papers import Table, find_config
from ssl_ext.config.training import training_config
from ssl_ext.engine.weights.files import weights_hash
from ssl_ext.evaluation.results import CLASSIFICATION

from .evaluations import Evaluation, evaluation_of
from .jobs import CHECKPOINT, RUN, Job, digest
from .plan import Cell

# Figures of a training instead of an evaluation.
DETECTION, CURVE = "detection", "log"
RESULTS = {CLASSIFICATION: "classification/results.json", DETECTION: "detection.json"}
# A config of 8 processes with 32 images each is called ..._8xb32-....
PROCESSES = re.compile(r"_(\d+)xb\d+-")
# Hooks that measure on evaluation_dataset while training, which is then a part of the training's content.
MEASURING = {"ClassifierEvaluationHook", "DetectionEvaluationHook"}
WEIGHTS = "weights"
NOT_TRAINING = ("work_dir", "evaluation", "evaluation_dataset")
EVALUATED = ("model", "data_preprocessor", "views", "evaluation", "evaluation_dataset")


class Planner:
    """Collects jobs; ``folder`` is that of all jobs."""

    def __init__(
        self, folder: Path, options: list[str], train_args: list[str], most_processes: int | None
    ) -> None:
        self.folder, self.options, self.train_args = folder, options, train_args
        self.most_processes = most_processes
        self.jobs: dict[str, Job] = {}
        self.data: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
        self.notes: dict[str, None] = {}
        self.evaluations: dict[str, Evaluation] = {}
        self.ids: dict[str, str] = {}
        self.hashes: dict[str, str] = {}
        self.configs: dict[tuple[Any, ...], Any] = {}

    def add(self, cell: TableCell, seed: int, table: Table) -> Cell:
        """Add the jobs of a cell; its evaluation has no id yet (:meth:`placed`)."""
        plain = Cell(dict(cell.at), seed, cell.published, cell.metric)
        if cell.config is None:
            return replace(plain, note="the table has no config for this cell")
        path, asked = find_config(cell.config, table.folder), dict(cell.evaluate or {})
        options = [*cell.options, *self.options]
        plain = replace(plain, config=cell.config, options=list(cell.options))
        protocol = asked.get("protocols")
        weights, trained = None, None
        if isinstance(cell.pretrain, str) and cell.pretrain.endswith(".pth"):
            weights = os.path.abspath(cell.pretrain)
        elif isinstance(cell.pretrain, str):
            other = find_config(cell.pretrain, table.folder)
            trained = self.training(other, self.options, seed)
        elif cell.pretrain:
            first = asked.get("pretrain_seed", seed)
            init = find_config(cell.init, table.folder) if cell.init else None
            after = self.training(init, self.options, first) if init else None
            results = RESULTS[CLASSIFICATION] if protocol == CLASSIFICATION else None
            trained = self.training(path, options, first, after=after, results=results)
        plain = replace(plain, pretrain=trained)
        if protocol == CLASSIFICATION:
            return replace(plain, evaluate=trained, select=dict(protocol=CLASSIFICATION, seed=seed))
        if protocol == CURVE:
            return replace(plain, evaluate=trained, select=dict(protocol=CURVE, epoch=int(asked["epoch"])))
        if protocol == DETECTION:
            detector = find_config(asked["config"], table.folder)
            job = self.training(
                detector,
                asked.get("options", []),
                seed,
                after=trained,
                weights=weights,
                results=RESULTS[DETECTION],
                stage="detect",
            )
            return replace(plain, evaluate=job)
        return self._evaluated(plain, path, options, asked, weights, table)

    def _evaluated(
        self,
        cell: Cell,
        path: Path,
        options: list[str],
        asked: dict[str, Any],
        weights: str | None,
        table: Table,
    ) -> Cell:
        config = self._config(load_config, path, options, ("model", "evaluation_dataset"))
        if "transfer_to" in asked:
            targets = asked["transfer_to"]
            targets = [targets] if isinstance(targets, str) else targets
            asked["transfer_to"] = [str(find_config(name, table.folder)) for name in targets]
        evaluation, select, recipes = evaluation_of(asked, table.recipes)
        content = [
            cell.pretrain, self._identity(weights), cell.seed, table.draws, evaluation.fixed,
            sorted(evaluation.shared), {key: config.get(key) for key in EVALUATED},
        ]  # fmt: skip
        data = [("evaluation_dataset", config.evaluation_dataset)]
        data += [(WEIGHTS, dict(file=weights))] if weights else []
        for name in evaluation.fixed["transfer_to"]:
            target = self._config(load_config, Path(name), [], ("evaluation_dataset",))
            content.append(target.evaluation_dataset)
            data.append((f"evaluation_dataset of {Path(name).stem}", target.evaluation_dataset))
        key = digest(content)
        evaluation = self.evaluations.setdefault(key, evaluation).joined(evaluation)
        evaluation.place(path, options, cell.pretrain, weights, cell.seed, data)
        self.evaluations[key] = evaluation
        # Jobs are started in the order in which they are first named.
        self.jobs.setdefault(key, Job(key, "", [], ""))
        return replace(cell, evaluate=key, select=dict(select, seed=cell.seed), recipes=recipes)

    def training(
        self,
        path: Path,
        options: list[str],
        seed: int,
        *,
        after: str | None = None,
        weights: str | None = None,
        results: str | None = None,
        stage: str = "pretrain",
    ) -> str:
        """Add a training, started from the weights of the training ``after``; its id."""
        config = self._config(training_config, path, options)
        processes, more = self._processes(path, config)
        if more:
            config = self._config(training_config, path, [*options, *more])
        plain = config.to_dict()
        measures = MEASURING & {hook["type"] for hook in plain.get("custom_hooks") or []}
        content = {
            key: value
            for key, value in plain.items()
            if key not in NOT_TRAINING or (measures and key == "evaluation_dataset")
        }
        identity = self._identity(weights)
        name = f"{stage}-{digest([content, seed, self.train_args, after, identity, processes])}"
        if name not in self.jobs or (results and not self.jobs[name].results):
            start = weights or (CHECKPOINT + after if after else None)
            command = ["ssl-ext", "train", str(path), "--work-dir", str(self.folder / name / RUN)]
            command += ["--seed", str(seed), "--resume", "auto", *(["--init", start] if start else [])]
            overrides = [*options, *more]
            command += [*self.train_args, *(["--cfg-options", *overrides] if overrides else [])]
            self.jobs[name] = Job(
                name,
                stage,
                command,
                os.getcwd(),
                [after] if after else [],
                processes,
                path.stem,
                overrides,
                seed,
                f"{RUN}/{results}" if results else None,
            )
            self.data[name] = [("train_dataloader.dataset", config.train_dataloader.dataset)]
            if weights:
                self.data[name].append((WEIGHTS, dict(file=weights)))
            if measures:
                self.data[name].append(("evaluation_dataset", config.evaluation_dataset))
        return name

    def _processes(self, path: Path, config: Config) -> tuple[int, list[str]]:
        """Processes of a training, and the batch size if they are fewer than the config is for."""
        found = PROCESSES.search(path.stem)
        wanted = int(found[1]) if found else 1
        most = self.most_processes or wanted
        processes = max(n for n in range(1, min(wanted, most) + 1) if wanted % n == 0)
        if processes == wanted:
            return wanted, []
        batch = config.train_dataloader.get("batch_size", 1)
        images = batch * wanted // processes
        self.notes[
            f"{path.stem} is for {wanted} processes of {batch} images; here {processes} of {images}."
        ] = None
        return processes, [f"train_dataloader.batch_size={images}"]

    def _identity(self, weights: str | None) -> str | None:
        """Hash of a weight file, read once; its path if it is missing."""
        if weights and os.path.isfile(weights) and weights not in self.hashes:
            self.hashes[weights] = weights_hash(weights)
        return self.hashes.get(weights, weights) if weights else None

    def finish(self, draws: int) -> None:
        """Make the jobs of the evaluations, now that all cells are known."""
        jobs: dict[str, Job] = {}
        for key, job in self.jobs.items():
            if evaluation := self.evaluations.get(key):
                job = evaluation.job(key, self.folder, draws)
                self.ids[key] = job.id
                self.data[job.id] = evaluation.data
            jobs[job.id] = job
        self.jobs = jobs

    def placed(self, cell: Cell) -> Cell:
        """The cell with the id of its evaluation."""
        return replace(cell, evaluate=self.ids.get(cell.evaluate or "", cell.evaluate))

    def _config(self, load: Any, path: Path, options: Sequence[str], required: Sequence[str] = ()) -> Config:
        """A config, read once; the file itself is read once for all overrides."""
        key = (load, path, *options)
        if key not in self.configs:
            # Reading a file takes longer than copying and checking a config.
            if (path,) not in self.configs:
                self.configs[path,] = load_config(path)
            more = {"required": required} if required else {}
            self.configs[key] = load(self.configs[path,], parse_options(options), **more)
        return self.configs[key]
