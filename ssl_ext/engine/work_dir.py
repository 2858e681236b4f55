"""One run at a time in a work dir, and no run over another."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from mmengine.dist import broadcast_object_list, is_main_process

from ssl_ext.errors import UserError
from ssl_ext.files import file_fault

from .weights.checkpoint import checkpoints_in, is_complete, newest_checkpoint, stored_step

LOCK = ".lock"
T = TypeVar("T")
_held: set[int] = set()


def _close_in_child() -> None:
    # A data loader's worker that outlives its killed run must not keep the lock.
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_close_in_child)


@contextmanager
def locked(folder: str | os.PathLike) -> Iterator[None]:
    """Lock a work dir; the kernel releases the lock when the process ends, even if it is killed.

    On a file system without locks, the lock file names host and process of the owner. A folder that is
    created here is removed again if nothing was written into it.

    Raises:
        UserError: Another process holds the lock, or the folder cannot be written.
    """
    folder = Path(folder)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    path = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = _lock(path)
    except OSError as error:
        raise UserError(f"Work dir '{folder}' cannot be written: {error.strerror}.") from error
    _held.add(handle)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        _held.discard(handle)
        os.close(handle)
        for empty in made:
            try:
                empty.rmdir()
            except OSError:
                break


def _lock(path: Path) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            owner = os.pread(handle, 1000, 0).decode(errors="replace").split()
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _in_use(path, owner) from None
            except OSError:
                # This file system has no locks.
                if len(owner) == 2 and not _has_ended(*owner):
                    raise _in_use(path, owner, f"; if that has ended, delete '{path}'") from None
            # The run that held it may have removed the file since it was opened.
            if path.exists() and path.stat().st_ino == os.fstat(handle).st_ino:
                os.ftruncate(handle, 0)
                os.pwrite(handle, f"{socket.gethostname()} {os.getpid()}\n".encode(), 0)
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _has_ended(host: str, process: str) -> bool:
    if host != socket.gethostname():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return int(process) == os.getpid()


def _in_use(path: Path, owner: list[str], more: str = "") -> UserError:
    who = f"process {owner[1]} on {owner[0]}" if len(owner) == 2 else "another process"
    return UserError(f"Work dir '{path.parent}' is in use by {who}: give another --work-dir{more}.")


def starting_point(
    resume: bool | str | os.PathLike, work_dir: str | os.PathLike, overwrite: bool
) -> tuple[str | None, list[tuple[str, int]]]:
    """Checkpoint to resume from, and the files (path, inode) that the run replaces: checkpoints, curves.

    Args:
        resume: A path; True or ``'auto'`` for the newest checkpoint in ``work_dir``, if there is one; False.
        work_dir: Work dir of the run.
        overwrite: Replace the files of an earlier run.

    Raises:
        UserError: The path is not a complete checkpoint, or the run would overwrite an earlier one.
    """
    if resume in (True, "auto"):
        if overwrite:
            raise UserError("Give either --resume or --overwrite, not both.")
        newest = newest_checkpoint(work_dir)
        return (str(newest), []) if newest else (None, _files(_curves(work_dir)))
    present = checkpoints_in(work_dir)
    if resume:
        if fault := file_fault(resume):
            raise UserError(f"--resume '{resume}' {fault}; give a checkpoint, or 'auto' for the newest one.")
        if not is_complete(resume):
            raise UserError(f"--resume '{resume}' is damaged or not a checkpoint.")
        start = stored_step(resume)[0]
        present = {path: step for path, step in present.items() if step[0] > start}
    if present and not overwrite:
        later, name = "later " if resume else "", list(present)[-1].name
        raise UserError(
            f"Work dir '{work_dir}' has {later}checkpoints of a run, such as '{name}': resume from the "
            "newest with --resume, give another --work-dir, or replace them with --overwrite."
        )
    if resume:
        return str(resume), _files(present)
    return None, _files([*present, *_curves(work_dir)])


def _curves(work_dir: str | os.PathLike) -> Iterable[Path]:
    """Logs of earlier starts, which would be joined with those of the new run."""
    return Path(work_dir).glob("*/vis_data/*.json")


def _files(paths: Iterable[Path]) -> list[tuple[str, int]]:
    return [(str(path), path.stat().st_ino) for path in paths]


def remove_replaced(replaced: list[tuple[str, int]]) -> None:
    """Remove the files of an earlier run, except those that the current run has rewritten."""
    for name, inode in replaced:
        path = Path(name)
        if path.exists() and path.stat().st_ino == inode:
            path.unlink()


def from_first_process(make: Callable[[], T]) -> T:
    """Call ``make`` on the first process and return its result on all of them.

    Raises:
        UserError: On all of them, if ``make`` raises it.
    """
    answer: list = [None, None]
    if is_main_process():
        try:
            answer[0] = make()
        except UserError as error:
            answer[1] = str(error)
    broadcast_object_list(answer)
    if answer[1] is not None:
        raise UserError(answer[1])
    return answer[0]
