"""Tables of experiments: jobs in folders, run by any number of workers, resumed by the same command.

Nothing but files holds state, so any number of drivers and workers on any machines that share the folder help
each other. ``OUT`` (default ``work_dirs/tables``) has

- ``jobs/<stage>-<hash>/``: one job, shared by all tables. ``job.json`` (:class:`Job`), ``state.json``
  (:class:`State`), ``.lock`` (held while the job runs), ``log.txt`` (output of all tries) and ``run/``, which
  the job's command writes: checkpoints and logs of a training, or ``results.json`` of an evaluation.
- ``<table name>/plan.json`` (:class:`Plan`), and the files drawn from it.

A worker (``ssl-ext table --work OUT/<table name>``) runs jobs one at a time until none is left that it could
run. A :class:`Starter` starts workers: ``local.Local(folder, processes, gpus)``,
``slurm.Slurm(folder, processes, arguments)``, ``ray.Ray(folder, processes)``.

The command: ``ssl-ext table FILE [--seeds S …] [--only AXIS=VALUE,… …] [--gpus 0,0,1 | --workers N |
--slurm N [--sbatch ARGUMENTS] | --ray N] [--dry-run] [--estimate] [--retry-failed] [--skip-missing]
[--out OUT] [--cfg-options KEY=VALUE …] [-- training arguments]``.
"""

from .jobs import Job, State, read_job, read_state
from .locks import is_held
from .plan import Cell, Plan, Starter, read_plan, worker_command, write_plan

__all__ = [
    "Cell",
    "Job",
    "Plan",
    "Starter",
    "State",
    "is_held",
    "read_job",
    "read_plan",
    "read_state",
    "worker_command",
    "write_plan",
]
