import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("cluster.sh")
COMMANDS = ("sbatch", "slurmctld", "slurmd", "munged")


class Cluster:
    """Slurm's commands, against the cluster of the tests."""

    def run(self, *command):
        """Standard output of a command."""
        words = [str(word) for word in command]
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout.strip()

    def tasks(self, *more):
        """Ids of the jobs and array tasks in the queue."""
        return self.run("squeue", "--noheader", "--array", "--format=%i", *more).split()

    def job(self, number):
        """All that Slurm knows of a job, by key."""
        words = self.run("scontrol", "--oneliner", "show", "job", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def wait(self, condition, seconds=60):
        """Wait until ``condition()`` is true; returns its value."""
        end = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < end, f"not within {seconds} s"
            time.sleep(0.1)
        return value

    def cancel_all(self):
        """Cancel what is queued or running and wait until it has left the nodes."""
        if self.tasks():
            self.run("scancel", "--me")
        self.wait(lambda: not self.tasks())


@pytest.fixture(scope="session")
def slurm_folder(tmp_path_factory):
    """Folder of a running cluster; skips where Slurm is not installed."""
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
    if missing := [name for name in COMMANDS if not shutil.which(name, path=path)]:
        pytest.skip(f"{', '.join(missing)}: not installed (Debian's slurm-wlm and munge)")
    folder = tmp_path_factory.mktemp("slurm")
    subprocess.run(["bash", SCRIPT, "start", folder], check=True, timeout=60)
    yield folder
    subprocess.run(["bash", SCRIPT, "stop", folder], check=True, timeout=60)


@pytest.fixture
def cluster(slurm_folder, monkeypatch):
    """An idle cluster, which Slurm's commands find."""
    monkeypatch.setenv("SLURM_CONF", str(slurm_folder / "slurm.conf"))
    yield (cluster := Cluster())
    cluster.cancel_all()
