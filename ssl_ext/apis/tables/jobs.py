"""Jobs of tables: their folders, states and locks. Imports neither torch nor MMEngine."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ssl_ext.errors import UserError
from ssl_ext.files import write_text
from ssl_ext.json_files import read_json

JOB, STATE, LOCK, LOG, RUN = "job.json", "state.json", ".lock", "log.txt", "run"
STAGES = ("pretrain", "evaluate", "finetune", "transfer", "detect")
OPEN, RUNNING, DONE, FAILED = "open", "running", "done", "failed"
BUSY = 75
"""Exit status of a step that could not start: another process runs the job, or it waits for another job."""
CHECKPOINT = "checkpoint:"
"""A command word ``checkpoint:<job id>`` stands for the newest checkpoint of that job."""


@dataclass(frozen=True)
class Job:
    """One command of a table, identified by its content.

    Attributes:
        id: ``<stage>-<hash>``, the name of the job's folder. Equal jobs of different tables have equal ids.
        stage: One of :data:`STAGES`.
        command: Words of the command, run in ``cwd``; words ``checkpoint:<job id>`` are replaced.
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


@dataclass
class State:
    """Progress of a job.

    ``status`` is ``'open'``, ``'running'``, ``'done'`` or ``'failed'``. A job whose status is ``'running'``
    while nobody holds its lock was killed and is open (:func:`is_held`).

    Attributes:
        tries: Starts of the command.
        deaths: Starts in succession that ended without a word (killed) and wrote no checkpoint or result.
        since: Unix time of the last change of ``status``.
        seconds: Run time of all tries that ended, in seconds.
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
    """Write ``job.json`` unless the folder has one; ``folder`` is the job's."""
    if not (folder / JOB).exists():
        write_text(folder / JOB, json.dumps(asdict(job), indent=2))


def read_job(folder: Path) -> Job:
    """Read ``job.json``.

    Raises:
        UserError: The file is missing or damaged.
    """
    return read_json(folder / JOB, Job, "a job of tools/table.py")


def read_state(folder: Path) -> State:
    """Read ``state.json``; a job without one is open.

    Raises:
        UserError: The file is damaged.
    """
    path = folder / STATE
    try:
        return read_json(path, State, "a state of tools/table.py")
    except UserError:
        if path.exists():
            raise
        return State()


def is_held(folder: Path) -> bool:
    """True while a process runs the job; tried with the lock of ``folder``, which is not waited for."""
    try:
        handle = os.open(folder / LOCK, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def write_state(folder: Path, state: State) -> None:
    """Write ``state.json``; the caller holds the job's lock."""
    write_text(folder / STATE, json.dumps(asdict(state)))


def blocked_by(job: Job, states: Mapping[str, State]) -> str | None:
    """Id of a failed job that ``job`` directly waits for; None if it can still run."""
    return next((name for name in job.after if states[name].status == FAILED), None)


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


def machine() -> dict[str, str | None]:
    """Where a try runs, for its state."""
    return dict(host=os.uname().nodename, slurm=os.environ.get("SLURM_JOB_ID"))
