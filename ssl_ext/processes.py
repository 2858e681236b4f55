"""Child processes that end when their parent is killed."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PARENT = "SSL_EXT_PARENT"
PR_SET_PDEATHSIG = 1


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
