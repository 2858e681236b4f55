"""Workers and jobs of tables as forked processes, which need not import torch again."""

import os
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

from processes import end_after

from ssl_ext.apis.tables import steps
from ssl_ext.apis.tables.worker import work
from ssl_ext.processes import PARENT


class Forked:
    """A function in a forked process, with the methods of ``subprocess.Popen`` that are used."""

    def __init__(self, function, log, env):
        self.returncode = None
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            for number in (signal.SIGTERM, signal.SIGUSR1):
                signal.signal(number, signal.SIG_DFL)
            os.environ.update(env)
            end_after(function, log)

    def poll(self):
        return self._wait(os.WNOHANG)

    def wait(self, timeout=None):
        return self._wait(0)

    def _wait(self, flags):
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, flags)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


class ForkedJob(Forked):
    """In place of ``subprocess.Popen`` of a step: a command of ``ssl-ext``."""

    def __init__(self, words, *, cwd, stdout, env, pass_fds, **others):
        def run():
            os.chdir(cwd)
            module, command, *rest = words[2:]
            assert module == "ssl_ext.cli"
            import_module(f"ssl_ext.cli.{command}").main(rest)

        super().__init__(run, stdout.fileno(), {PARENT: env[PARENT]})


class ForkedLocal:
    """In place of :class:`ssl_ext.apis.tables.local.Local`."""

    attached = True

    def __init__(self, folder, processes=1, **others):
        self.folder, self.processes, self.running = folder, processes, {}

    def start(self, n):
        for number in range(n):
            worker = self.running.get(number)
            if worker is None or (worker.poll() or 0) < 0:
                self.running[number] = self.worker()
        return sum(worker.poll() is None for worker in self.running.values())

    def worker(self):
        parent = os.getpid()

        def run():
            names = dict(vars(subprocess), Popen=ForkedJob)
            steps.subprocess = type("forks", (), names)
            sys.exit(work(self.folder, self.processes, say=print))

        with open(Path(self.folder, "workers.log"), "ab") as log:
            return Forked(run, log.fileno(), {PARENT: f"{parent} {int(signal.SIGTERM)}"})

    def stop(self):
        for worker in self.running.values():
            worker.terminate()
        for worker in self.running.values():
            worker.wait()
