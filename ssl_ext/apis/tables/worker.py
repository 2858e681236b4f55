"""A worker: runs the jobs of a table one at a time. Imports neither torch nor MMEngine."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

from .jobs import DONE, FAILED, RUNNING, read_job, read_state
from .plan import PLAN, job_folder, read_plan
from .steps import BLOCKED, BUSY, Step, begin

SHORTEST, LONGEST = 0.05, 2.0


def work(
    folder: Path, processes: int = 1, *, wait: bool = True, say: Callable[[str], None] = lambda words: None
) -> int:
    """Run the jobs of ``processes`` processes of the table in ``folder``.

    Args:
        folder: The table's folder; jobs that its ``plan.json`` gets meanwhile are run too.
        processes: Only jobs of this number of processes are run.
        wait: Also wait for jobs that others run, which may unblock jobs or be killed; else end as soon as
            no job can be started.
        say: Called with a line about each job that ends.

    Returns:
        0 if nothing is left to do; 143 after SIGTERM or SIGUSR1, which stop the running job.
    """
    running: list[Step] = []
    stop: list[int] = []

    def told(number: int, frame: object) -> None:
        stop.append(number)
        for step in running:
            step.stop()

    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, told)
    read, left, jobs, pause = 0, [], {}, SHORTEST
    while not stop:
        if (changed := (folder / PLAN).stat().st_mtime_ns) != read:
            read, plan = changed, read_plan(folder)
            left = [name for name in plan.jobs if plan.processes.get(name, 1) == processes]
        others, final = False, set()
        for name in left:
            if name not in jobs:
                jobs[name] = read_job(job_folder(folder, name))
            found = begin(job_folder(folder, name), jobs[name])
            if isinstance(found, Step):
                running.append(found)
                if stop:
                    found.stop()
                status = found.finish()
                running.clear()
                said = f": {found.state.said}" if status == FAILED else ""
                say(f"{status} {name} ({' '.join(found.job.words)}){said}")
                pause = SHORTEST
                break
            if found in (DONE, FAILED, BLOCKED):
                final.add(name)
            elif found == BUSY or any(
                read_state(job_folder(folder, one)).status == RUNNING for one in jobs[name].after
            ):
                others = True
        else:
            if not (others and wait):
                return 0
            time.sleep(pause)
            pause = min(2 * pause, LONGEST)
        left = [name for name in left if name not in final]
    return 128 + signal.SIGTERM
