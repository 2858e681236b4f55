"""Forked processes of one gloo group."""

import multiprocessing.process
import os
import sys
import traceback
from pathlib import Path

import torch
import torch.distributed as dist
from mmengine.logging import MMLogger

from ssl_ext.errors import run_tool

WORLD = 2


def results(work, folder, *args, world=WORLD):
    """Return the results of ``work(rank, *args)`` on each process."""
    log = Path(folder) / "log"

    def save():
        rank = dist.get_rank()
        torch.save(work(rank, *args), log.with_name(f"{rank}.pt"))

    assert forked(world, save, log) == [0] * world, log.read_text()
    return [torch.load(log.with_name(f"{rank}.pt")) for rank in range(world)]


def forked(world, work, log):
    """Run ``work`` in ``world`` processes of one gloo group; their exit statuses (−9: killed).

    Forked, because a new interpreter takes seconds to import what a run needs.
    """
    rendezvous = Path(log).with_suffix(".rendezvous")
    rendezvous.unlink(missing_ok=True)
    children = []
    for rank in range(world):
        child = os.fork()
        if child == 0:
            _be_a_process(rank, world, work, log, rendezvous)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def _be_a_process(rank, world, work, log, rendezvous):
    def join():
        if world > 1:
            os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(rank))
            dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world)
        work()

    with open(log, "ab", buffering=0) as stream:
        end_after(join, stream.fileno())


def end_after(work, stream):
    """Run ``work`` in this forked process as a tool, its output to a descriptor, and end the process."""
    status = 1
    # Multiprocessing ends a process's daemons when it exits; those of the test are not this one's.
    multiprocessing.process._children.clear()
    try:
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        sys.stdout = sys.stderr = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
        # A new process has no loggers of earlier runs, whose files it would write into.
        MMLogger._instance_dict.clear()
        run_tool(work)
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
