"""A table of jobs that count, without torch: each step is recorded, and saved with the next state."""

import signal
import sys
import time
from pathlib import Path

from ssl_ext.apis.tables.jobs import RUN, Job
from ssl_ext.apis.tables.plan import Plan, job_folder, write_plan


def write_jobs(folder, count, steps, *, seconds=0.1):
    """Plan ``count`` jobs of ``steps`` steps of ``seconds`` in a table's folder; returns their folders."""
    jobs = {}
    for name in (f"pretrain-{number}" for number in range(count)):
        command = [sys.executable, __file__, str(job_folder(folder, name) / RUN), str(steps), str(seconds)]
        jobs[name] = Job(name, "pretrain", command, str(folder.parent), results=f"{RUN}/results.json")
    plan = Plan(folder.name, None, [], [], "", "", [], [0], [], list(jobs))
    write_plan(folder, plan, jobs)
    return [job_folder(folder, name) for name in jobs]


def steps_of(folder):
    """Steps that a job has taken, in order."""
    file = folder / RUN / "steps.txt"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def main(folder, steps, seconds):
    """Count on from the last step; after SIGTERM end between two steps."""
    told = []
    signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    folder.mkdir(parents=True, exist_ok=True)
    done = len(steps_of(folder.parent))
    with open(folder / "steps.txt", "a", buffering=1) as file:
        for step in range(done, steps):
            if told:
                sys.exit(128 + signal.SIGTERM)
            file.write(f"{step}\n")
            time.sleep(seconds)
    (folder / "results.json").write_text("{}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
