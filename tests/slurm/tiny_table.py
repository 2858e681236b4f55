"""A table of 24 cells of small runs on digits: its file, what its folder holds, and killing what runs it."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from ssl_ext.apis.tables.jobs import DONE, newest_checkpoint, read_state
from ssl_ext.engine import read_checkpoint

EPOCHS = 3
FILE = '''
AXES = dict(method=["simclr", "byol", "barlow"], batch=[128, 256], protocol=["knn", "linear"])
ROWS, COLUMNS = ["method", "batch"], ["protocol"]
CONFIG = "tiny-{method}"
EVALUATE = dict(protocols="{protocol}")
SEEDS = range(2)
METRIC, UNIT = "acc", "%"
SOURCE = "Runs on digits"
PUBLISHED = """
- -
- -
- -
- -
- -
- -
"""


def cell(batch, **at):
    return dict(options=[f"train_dataloader.batch_size={batch}"])
'''
METHODS = dict(simclr="SimCLR", byol="BYOL", barlow="BarlowTwins")
COMMAND = [sys.executable, "-m", "ssl_ext.cli", "table"]
STEP = re.compile(r"Epoch\(train\) +\[(\d+)\]\[(\d+)/(\d+)\]")
# A kill comes up to this long after the line of the log that it waits for, in s.
DELAY = dict(step=0.3, save=0.05, evaluation=4.0)
LINES = dict(step="Epoch(train)", save="Saving checkpoint", evaluation="tensors matched")


def write_table(folder, peer_config):
    """Write the table's file and its three configs; returns the file."""
    for name, model in METHODS.items():
        config = peer_config(model)
        config.train_cfg.max_epochs = config.param_scheduler[0].T_max = EPOCHS
        config.default_hooks.logger.interval = 1
        config.custom_hooks = [dict(type="RandomStateHook")]
        config.dump(folder / f"tiny-{name}.py")
    file = folder / "tiny.py"
    file.write_text(FILE)
    return file


def content(out):
    """Weights and result rows of all jobs of a table, all of which are done."""
    found = {}
    for folder in sorted((out / "jobs").iterdir()):
        assert read_state(folder).status == DONE, (folder.name, read_state(folder))
        if folder.name.startswith("pretrain"):
            found[folder.name] = read_checkpoint(newest_checkpoint(folder))["state_dict"]
        else:
            rows = json.loads((folder / "run" / "results.json").read_text())
            found[folder.name] = [
                {key: row[key] for key in row if key not in ("cost", "source", "predictions")} for row in rows
            ]
    return found


def repeated_steps(out):
    """For each restart of a training, the number of steps that it took again, and the steps of an epoch."""
    found = []
    for job in (out / "jobs").glob("pretrain-*"):
        last = length = 0
        for log in sorted(job.glob("run/*/*.log")):  # one for each start
            steps = [tuple(map(int, words)) for words in STEP.findall(log.read_text())]
            numbers = [(epoch - 1) * of + step for epoch, step, of in steps]
            if numbers:
                length = steps[0][2]
                found.append((max(0, last - numbers[0] + 1), length))
                last = max(last, *numbers)
        assert last == EPOCHS * length
    return found


def logged(out, place):
    """Number of lines of each log that say that a place was reached."""
    counts = {}
    for folder in (out / "jobs").glob("*"):
        logs = [*folder.glob("log.txt"), *folder.glob("run/*/*.log")]
        counts[folder] = sum(log.read_text(errors="replace").count(LINES[place]) for log in logs)
    return counts


def processes():
    """Command lines of the running processes, by id."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")[:-1]
                if words and (folder / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                    found[int(folder.name)] = [word.decode(errors="replace") for word in words]
            except OSError:
                continue
    return found


def training(folder):
    """Id of the process that runs the command of a job, or None."""
    found = processes().items()
    return min(
        (number for number, words in found if any(word.startswith(f"{folder}/") for word in words)),
        default=None,
    )


def parent(number):
    """Id of the parent of a process."""
    return int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])


class Killer:
    """Runs a table and kills what runs it, when the log says that a chosen place was reached.

    Args:
        out: Folder of all tables.
        words: Words of the driver.
        kills: Number of kills.
        targets: What is killed, in turn: ``'driver'``, ``'worker'``, ``'training'``, or a name of ``more``.
        more: Functions of a job's process that stop it otherwise.
        pause: Seconds between two starts of a driver that ends at once.
    """

    def __init__(self, out, words, kills, *, targets=("driver", "worker", "training"), more=None, pause=0):
        self.out, self.words, self.kills, self.targets, self.more = out, words, kills, targets, more or {}
        self.pause, self.next_start = pause, 0
        self.killed = Counter()
        self.rng = random.Random(0)
        self.driver = None

    def start(self, pause=0):
        """Start the driver unless it runs, or has been started less than ``pause`` seconds ago."""
        now = time.monotonic()
        if (self.driver is None or self.driver.poll() is not None) and now >= self.next_start + pause:
            self.next_start = now
            with open(self.out.parent / f"{self.out.name}.txt", "ab") as log:
                self.driver = subprocess.Popen(self.words, stdout=log, stderr=log)

    def is_done(self):
        """True if every job is done."""
        folders = list((self.out / "jobs").glob("*"))
        return bool(folders) and all(read_state(folder).status == DONE for folder in folders)

    def run(self, seconds):
        """Kill until all kills are done or all jobs are; then let the table end."""
        end = time.monotonic() + seconds
        places = list(DELAY)
        while sum(self.killed.values()) < self.kills and not self.is_done():
            number = sum(self.killed.values())
            target = self.targets[number % len(self.targets)]
            # Evaluations begin late: take what is there, in turn where there is a choice.
            self.kill(target, places[number // len(self.targets) % len(places) :] + places, end)
        while not self.is_done():
            assert time.monotonic() < end, "the table does not end"
            self.start(self.pause)
            time.sleep(0.2)
        return self.driver.wait(timeout=120)

    def kill(self, target, places, end):
        """Wait for a place, then kill."""
        before = {place: logged(self.out, place) for place in places}
        first, patience = places[0], time.monotonic() + 20
        while time.monotonic() < end and not self.is_done():
            for place in [first] if time.monotonic() < patience else places:
                now = logged(self.out, place)
                grown = [folder for folder, count in now.items() if count > before[place].get(folder, 0)]
                if grown and self.hit(target, place, self.rng.choice(grown)):
                    return
                before[place] = now
            self.start(0 if target == "driver" else self.pause)
            time.sleep(0.02)

    def hit(self, target, place, folder):
        """Kill ``target`` of the job in ``folder``, which has just reached ``place``."""
        time.sleep(self.rng.uniform(0, DELAY[place]))
        child = training(folder)
        if child is None:
            return False  # it has ended
        try:
            if target == "driver":
                if self.driver.poll() is not None:
                    return False
                self.driver.kill()
                self.driver.wait()
            elif target in self.more:
                if not self.more[target](child):
                    return False
            else:
                os.kill(parent(child) if target == "worker" else child, signal.SIGKILL)
        except (ProcessLookupError, FileNotFoundError):
            return False
        self.killed[target, place] += 1
        return True
