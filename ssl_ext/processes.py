"""Child processes that end when their parent is killed, and calls in processes of their own."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

P, R = ParamSpec("P"), TypeVar("R")
PARENT = "SSL_EXT_PARENT"
PR_SET_PDEATHSIG = 1
START_METHOD = "spawn"  # a forked process starts with the memory of its parent


def ends_with_me(number: signal.Signals) -> dict[str, str]:
    """Environment variables that make a child receive signal ``number`` when this process dies."""
    return {PARENT: f"{os.getpid()} {int(number)}"}


def follow_parent() -> None:
    """Request the parent's signal at its death from the kernel (Linux); exit if it has died already."""
    parent, _, number = os.environ.pop(PARENT, "").partition(" ")
    if not parent or sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(number))
    if os.getppid() != int(parent) and not os.path.exists(f"/proc/{parent}"):
        sys.exit(128 + int(number))


def in_a_new_process(call: Callable[P, R], *args: P.args, **settings: P.kwargs) -> R:
    """Call a function in a process that does nothing else, with the same number of torch threads.

    Raises:
        BrokenProcessPool: The process was killed.
    """
    import torch

    threads = (torch.get_num_threads(),)
    with ProcessPoolExecutor(1, get_context(START_METHOD), torch.set_num_threads, threads) as pool:
        return pool.submit(call, *args, **settings).result()
