"""Jobs of tables: their folders, states and locks. Imports neither torch nor MMEngine."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ssl_ext.errors import UserError
from ssl_ext.files import write_text
from ssl_ext.json_files import read_json

JOB, STATE, LOG, RUN = "job.json", "state.json", "log.txt", "run"
STAGES = ("pretrain", "evaluate", "finetune", "transfer", "detect")
OPEN, RUNNING, DONE, FAILED = "open", "running", "done", "failed"
PATHS = ("data_root", "checkpoint")  # keys of configs
CHECKPOINT = "checkpoint:"
"""A command word ``checkpoint:<job id>`` stands for the newest checkpoint of that job."""


@dataclass(frozen=True)
class Job:
    """One command of a table, identified by its content.

    Attributes:
        id: ``<stage>-<hash>``, the name of the job's folder. Equal jobs of different tables have equal ids.
        stage: One of :data:`STAGES`.
        command: Words of the command, run in ``cwd``. A first word ``ssl-ext`` is this package, started by
            a launcher if there are several processes; words ``checkpoint:<job id>`` are replaced.
        cwd: Folder that relative paths (data, configs) in the command refer to.
        after: Ids of the jobs that must be done before; their folders are siblings.
        processes: Training processes, with one GPU each where there are GPUs.
        config: Name of the config, for people.
        options: Overrides of the config, for people.
        seed: Seed of the pretraining or evaluation.
        results: File with the results, relative to the job's folder: ``run/results.json``,
            ``run/classification/results.json`` or ``run/detection.json``; None for a pretraining without.
    """

    id: str
    stage: str
    command: list[str]
    cwd: str
    after: list[str] = field(default_factory=list)
    processes: int = 1
    config: str = ""
    options: list[str] = field(default_factory=list)
    seed: int = 0
    results: str | None = None

    @property
    def words(self) -> list[str]:
        """Config, protocol, overrides and seed, for people."""
        words = self.command
        protocols = words[words.index("--protocols") + 1 :] if "--protocols" in words else []
        named = itertools.takewhile(lambda word: not word.startswith("--"), protocols)
        return [self.config, *named, *self.options, f"seed={self.seed}"]


@dataclass
class State:
    """Progress of a job.

    ``status`` is ``'open'``, ``'running'``, ``'done'`` or ``'failed'``. A job whose status is ``'running'``
    while nobody holds its lock was killed and is open (:func:`ssl_ext.apis.tables.locks.is_held`).

    Attributes:
        tries: Starts of the command.
        deaths: Starts in succession that ended without a word (killed) and wrote no checkpoint or result.
        since: Unix time of the last change of ``status``.
        seconds: Run time of all tries that ended, in seconds; of those that did not succeed the part up to
            their newest checkpoint or result.
        host: Machine of the last try.
        slurm: Slurm job of the last try.
        code: Exit status of the last try; negative for a signal.
        said: Why the job failed, one sentence.
        progress: Time of the newest checkpoint or result at the start of the last try, in ns.
    """

    status: str = OPEN
    tries: int = 0
    deaths: int = 0
    since: float = 0.0
    seconds: float = 0.0
    host: str = ""
    slurm: str | None = None
    code: int | None = None
    said: str | None = None
    progress: int = 0


def write_job(folder: Path, job: Job) -> None:
    """Write ``job.json`` unless it has that content; ``folder`` is the job's.

    ``results`` are kept if this table does not read them: another one does.
    """
    path = folder / JOB
    if job.results is None and path.exists():
        job = replace(job, results=read_job(folder).results)
    text = json.dumps(asdict(job), indent=2)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        # The next call of the driver would write it again.
        write_text(path, text, durable=False)


def read_job(folder: Path) -> Job:
    """Read ``job.json``.

    Raises:
        UserError: The file is missing or damaged.
    """
    return read_json(folder / JOB, Job, "a job of tools/table.py")


def read_state(folder: Path) -> State:
    """Read ``state.json``; a job without one, or with one that a power failure left empty, is open.

    Raises:
        UserError: The file is damaged.
    """
    path = folder / STATE
    # Looked for first: another worker may write the first state at any time, and none removes one.
    if not path.exists() or not path.stat().st_size:
        return State()
    return read_json(path, State, "a state of tools/table.py")


def write_state(folder: Path, state: State) -> None:
    """Write ``state.json``; the caller holds the job's lock."""
    write_text(folder / STATE, json.dumps(asdict(state)), durable=state.status in (DONE, FAILED))


def newest_checkpoint(folder: Path) -> Path:
    """The last numbered checkpoint of a finished training in ``folder/run``, without reading any.

    Raises:
        UserError: There is none.
    """
    found = [
        (int(number), path)
        for path in (folder / RUN).glob("*_*.pth")
        if (number := path.stem.rpartition("_")[2]).isdigit()
    ]
    if not found:
        raise UserError(f"'{folder / RUN}' has no checkpoint.")
    return max(found)[1]


def digest(content: Any) -> str:
    """First 12 hexadecimal digits of the SHA-256 of a content; the key ``download`` is ignored.

    Relative paths (:data:`PATHS`) are those of the current folder.
    """

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {
                str(key): os.path.abspath(item)
                if key in PATHS and isinstance(item, str) and "://" not in item
                else plain(item)
                for key, item in value.items()
                if key != "download"
            }
        return [plain(item) for item in value] if isinstance(value, list | tuple) else value

    text = json.dumps(plain(content), sort_keys=True, default=str)
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:12]
