"""Workers of a table on Ray, on this machine."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_jobs import steps_of, write_jobs
from tiny_table import parent, processes, training

from ssl_ext.apis.tables.jobs import DONE, read_state
from ssl_ext.apis.tables.starters import choose_workers
from ssl_ext.errors import UserError

STEPS = 150
# Runs a table's jobs with two workers until none is left.
DRIVER = """
import sys, time
from pathlib import Path
from ssl_ext.apis.tables.ray import Ray
starter = Ray(Path(sys.argv[1]), workers=2)
print("ready", flush=True)
while starter.start(2):
    time.sleep(0.2)
"""


def wait(condition, seconds=60):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.05)
    return value


def listening(number):
    """Addresses at which a process and its descendants listen, from the kernel's tables."""
    family = {number}
    for child in sorted(processes()):
        try:
            if parent(child) in family:
                family.add(child)
        except FileNotFoundError:
            continue
    sockets = set()
    for child in family:
        for handle in Path(f"/proc/{child}/fd").glob("*"):
            try:
                sockets.add(os.readlink(handle))
            except OSError:
                continue
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in sockets:
                found.append(words[1].partition(":")[0])
    return found


@pytest.mark.slow
def test_a_table_through_killed_workers_and_a_killed_driver(tmp_path):
    pytest.importorskip("ray")
    folder = tmp_path / "tables" / "count"
    jobs = write_jobs(folder, 3, STEPS)

    def start():
        return subprocess.Popen(
            [sys.executable, "-c", DRIVER, folder],
            stdout=subprocess.PIPE,
            text=True,
            env={key: value for key, value in os.environ.items() if not key.startswith("RAY_")},
        )

    driver = start()
    assert driver.stdout.readline() == "ready\n"
    first, second = (wait(lambda job=job: steps_of(job)) and job for job in jobs[:2])
    # 0100007F, or in the lowest bytes of an IPv6 address, is 127.0.0.1.
    addresses = listening(driver.pid)
    assert addresses and all(address.endswith("0100007F") for address in addresses)
    os.kill(parent(training(first)), signal.SIGKILL)  # a worker
    os.kill(training(second), signal.SIGKILL)  # a job
    for job in (first, second):
        wait(lambda job=job: read_state(job).tries == 2)
    driver.kill()
    driver.wait()
    assert start().wait(120) == 0
    for job in jobs:
        assert read_state(job).status == DONE
        assert steps_of(job) == list(range(STEPS))


@pytest.mark.slow
@pytest.mark.parametrize("token", [False, True])
def test_a_cluster_that_does_not_answer_or_has_no_token_is_named(token, tmp_path):
    pytest.importorskip("ray", minversion="2.52")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1] if token else 9}"
        more = dict(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(tmp_path / "none")) if token else {}
        words = [sys.executable, "-c", "from ssl_ext.apis.tables.ray import connect; connect()"]
        env = {**os.environ, "RAY_ADDRESS": address, **more}
        ended = subprocess.run(words, capture_output=True, text=True, env=env, timeout=60)
    reason = "token" if token else "Connection refused"
    assert f"UserError: --ray: Ray cannot be reached at '{address}' (" in ended.stderr
    assert reason in ended.stderr.splitlines()[-1]


def test_without_ray_there_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"--ray: Ray is not installed: pip install 'ssl_ext\[ray\]'\."):
        choose_workers(ray=2)
