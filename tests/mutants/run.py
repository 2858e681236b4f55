"""Plant each bug of table.txt in a copy of the repository and run the tests that should fail.

    python tests/mutants/run.py                      all bugs; prints the surviving ones
    python tests/mutants/run.py losses engine/lars   bugs in files whose path starts with these

The checkout is never changed. The exit status is 1 if a bug survived.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from table import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
COPIED = ("configs", "ssl_ext", "tests", "tools")
TIMEOUT = 300  # seconds; a bug may cause an endless loop
TIMED_OUT = 124


# Processes are forked from a server that has imported these modules, but never ssl_ext.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["torch", "torchvision", "mmengine.runner", "sklearn.linear_model", "pytest"])


def _run_pytest(folder: Path, names: tuple[str, ...], log: Path) -> None:
    with open(log, "w") as output:
        for stream in (1, 2):
            os.dup2(output.fileno(), stream)
    os.chdir(folder)
    os.environ["PYTHONPATH"] = str(folder)
    sys.path.insert(0, str(folder))
    places = [f"tests/{name}" for name in names]
    sys.exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=short", *places]))


class Copy:
    """A copy of a repository, in which one bug at a time is planted."""

    def __init__(self, folder: Path, root: Path = ROOT) -> None:
        self.root, self.folder = root, folder / "tree"
        self.folder.mkdir()
        for path in root.iterdir():
            if path.is_dir() and path.name in COPIED:
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(path, self.folder / path.name, symlinks=True, ignore=ignored)
            elif path.is_file():
                shutil.copy2(path, self.folder)

    def test(self, *names: str) -> tuple[int, str]:
        """Run tests in the copy; return pytest's exit status and the last lines of its output."""
        log = self.folder.with_name("output.txt")
        process = SERVER.Process(target=_run_pytest, args=(self.folder, names, log))
        process.start()
        process.join(TIMEOUT)
        if process.is_alive():
            process.kill()
            return TIMED_OUT, f"no end within {TIMEOUT} seconds"
        return process.exitcode or 0, "\n".join(log.read_text(errors="replace").splitlines()[-12:])

    @contextmanager
    def planted(self, mutant: Mutant) -> Iterator[None]:
        """Plant a bug; restore the file on exit."""
        path, original = self.folder / mutant.path, self.root / mutant.path
        path.write_text(mutant.applied(original.read_text(encoding="utf-8")), encoding="utf-8")
        try:
            yield
        finally:
            shutil.copy2(original, path)
            # A .pyc file is matched by time in seconds and size, which can be equal for two bugs.
            Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)

    def survives(self, mutant: Mutant) -> bool:
        """True if the tests pass with the bug.

        Raises:
            RuntimeError: The tests cannot be run or time out, because the record is wrong.
        """
        with self.planted(mutant):
            status, text = self.test(*mutant.tests)
        if status not in (0, 1):
            raise RuntimeError(f"{mutant}: pytest ended with status {status}\n{text}")
        return status == 0


def main(beginnings: list[str]) -> int:
    """Run the bugs in files that start with one of the arguments; return the exit status."""
    chosen = [m for m in MUTANTS if not beginnings or m.file.startswith(tuple(beginnings))]
    results: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(Path(folder))
        status, text = copy.test(*sorted({name for mutant in chosen for name in mutant.tests}))
        if status:
            print(f"The tests fail without any bug:\n{text}")
            return 2
        for mutant in chosen:
            start, result = time.perf_counter(), "equivalent"
            if not mutant.equivalent:
                result = "SURVIVED" if copy.survives(mutant) else "caught"
            results[result] += 1
            print(f"{result:<10} {time.perf_counter() - start:5.1f} s  {mutant}", flush=True)
    print(", ".join(f"{count} {result}" for result, count in results.items()))
    return int(bool(results["SURVIVED"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
