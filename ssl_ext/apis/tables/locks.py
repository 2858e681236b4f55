"""Locks of jobs: the kernel's, or leases where a file system has none."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path

LOCK, LEASES = ".lock", "SSL_EXT_LEASES"
TTL, BEAT = 120.0, 30.0
"""Seconds after which a lease that was not renewed is void, and between two renewals."""


@dataclass
class Lock:
    """A job's lock, held by this process and by the children that inherit ``handle``.

    ``flock`` on ``.lock``: the kernel releases it when the last of them has ended, even if it was killed. The
    file is never deleted. If the file system has no ``flock``, or ``SSL_EXT_LEASES=1`` says that it does not
    reach other machines, the lock is a lease (``handle`` is None): the file ``.claim.N`` with the highest N,
    renewed every :data:`BEAT` seconds. A void lease is not deleted but outbid by N + 1, created by ``link``,
    which is atomic on every file system, so that two processes cannot both take it.
    """

    folder: Path
    handle: int | None = None
    number: int = 0

    def renew(self) -> bool:
        """Renew a lease; False if it was void and another process has the job."""
        if self.handle is None:
            if _newest(self.folder) != self.number:
                return False
            os.utime(_claim(self.folder, self.number))
        return True

    def release(self) -> None:
        """Release the lock of this process."""
        if self.handle is not None:
            os.close(self.handle)
        elif self.renew():
            # Length 1: given back.
            os.truncate(_claim(self.folder, self.number), 1)


def take_lock(folder: Path) -> Lock | None:
    """Take the lock of a job's folder; None if it is held."""
    if os.environ.get(LEASES) != "1":
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_leased(folder):
                os.close(handle)
                return None
            return Lock(folder, handle)
        except BlockingIOError:
            os.close(handle)
            return None
        except OSError:
            os.close(handle)
    number = _newest(folder)
    if number and not _is_void(folder, number):
        return None
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".own.") as file:
        file.write(f"{socket.gethostname()} {os.getpid()}\n".encode())
        file.flush()
        try:
            os.link(file.name, _claim(folder, number + 1))
        except FileExistsError:
            return None
    return Lock(folder, number=number + 1)


def is_held(folder: Path) -> bool:
    """True while a process runs the job in ``folder``."""
    if _is_leased(folder):
        return True
    try:
        handle = os.open(folder / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except PermissionError:  # of another user, and cannot be known
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False


def _claim(folder: Path, number: int) -> Path:
    return folder / f".claim.{number}"


def _newest(folder: Path) -> int:
    found = (name.removeprefix(".claim.") for name in os.listdir(folder) if name.startswith(".claim."))
    return max(map(int, found), default=0)


def _is_leased(folder: Path) -> bool:
    number = _newest(folder)
    return bool(number) and not _is_void(folder, number)


def _is_void(folder: Path, number: int) -> bool:
    """True if a lease was given back or has run out, by the clock of the file server."""
    claim = os.stat(_claim(folder, number))
    if claim.st_size == 1:
        return True
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".clock.") as file:
        os.utime(file.name)
        return os.stat(file.name).st_mtime - claim.st_mtime >= TTL
