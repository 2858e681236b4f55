"""Console of a training and of long work: on a terminal, and in a pipe."""

import fcntl
import logging
import os
import pty
import re
import shlex
import shutil
import struct
import subprocess
import sys
import termios
import time
import warnings
from importlib import import_module
from pathlib import Path

import pytest
from processes import forked

from ssl_ext import console, logs
from ssl_ext.config.commands import command
from ssl_ext.console import WIDTH, progress, track

ROOT = Path(__file__).parents[2]
EPOCH = re.compile(r"epoch (\d)/2  loss +[\d.]+  kNN +\d+ %  feature std \d\.\d{3}  [\d,]+ img/s  ETA 0:\d\d")
THIRD_PARTY = (
    "FileClient",
    "HardDiskBackend",
    "SyncBatchNorm",
    "Hooks will be",
    "Exp name",
    "mmengine",
    "UserWarning",
)


def on_terminal(words, **options):
    """Output of a command on a terminal of 120 columns."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(options["cwd"])
        os.execvpe(words[0], words, options["env"])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    output = b""
    try:
        while part := os.read(terminal, 65536):
            output += part
    except OSError:  # the end, on Linux
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, output.decode()
    return output.decode()


def in_pipe(words, **options):
    """Output of a command in a pipe."""
    ended = subprocess.run(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def in_fork(words, folder):
    """Output of a tool that runs in a forked process, which need not import torch again."""

    def tool():
        os.chdir(folder)
        sys.argv = words[1:]
        import_module(f"ssl_ext.cli.{Path(words[1]).stem}").main(words[2:])

    assert shutil.which(words[0]) and Path(words[1]).parent == ROOT / "tools" and Path(words[1]).is_file()
    log = folder / "output.txt"
    assert forked(1, tool, log) == [0], log.read_text()
    return log.read_text()


def test_a_training_has_one_line_an_epoch_and_names_commands_that_run(tiny_config_file, tmp_path):
    run = tmp_path / "Ada's run"
    options = dict(
        cwd=tmp_path, env=dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1", TERM="xterm")
    )
    words = [sys.executable, str(ROOT / "tools/train.py"), str(tiny_config_file), "--work-dir", str(run)]
    for start, more in ((in_pipe, []), (on_terminal, ["--overwrite"])):
        said = start([*words, *more], **options)
        assert not [name for name in THIRD_PARTY if name in said]
        bars = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "\n", said).replace("\r", "\n").splitlines()
        lines = [line for line in bars if EPOCH.fullmatch(line.rstrip())]
        assert [EPOCH.fullmatch(line.rstrip())[1] for line in lines] == ["1", "2"], said
        assert all(len(line.rstrip()) <= WIDTH for line in lines)
        for term in ("loss", "kNN", "feature std"):
            assert sum(line.startswith(f"{term}: ") for line in bars) == 1
        assert ("━" in said) == said.startswith("loading PyTorch") == (start is on_terminal)
    (log,) = sorted(run.glob("*/*.log"))[-1:]
    assert "Hooks will be" in log.read_text() and log.read_text().count("Epoch(train)") > 2
    assert "  epoch_2.pth " in said
    lines = [line for line in bars if "tools/" in line and line.startswith("  ")]
    commands = [in_pipe(["sh", "-c", rf"printf '%s\n' {line}"]).splitlines() for line in lines]
    assert [command[1].rpartition("/")[2] for command in commands][:2] == ["evaluate.py", "visualize.py"]
    evaluated = in_fork([*commands[0], "--protocols", "knn"], tmp_path)
    assert "kNN" in evaluated and (run / "evaluation/results.json").is_file()
    in_fork(commands[1], tmp_path)
    assert (run / "figures/curves.png").is_file()


def slow(seconds, count=4):
    for number in range(count):
        time.sleep(seconds)
        yield number


def test_long_work_says_so_within_two_seconds_and_at_a_bounded_rate(monkeypatch):
    said, start = [], time.monotonic()
    monkeypatch.setattr(console.screen, "say", lambda text, style="": said.append((time.monotonic(), text)))
    monkeypatch.setattr(console, "FIRST", 0.1)
    monkeypatch.setattr(console, "LONGEST", 0.6)
    with progress("outer"):
        list(track(slow(0.02, 40), "inner", 40, "images"))
        time.sleep(0.2)
    times, texts = zip(*said, strict=True)
    assert times[0] - start < 2 and re.fullmatch(r"outer, inner: \d of 40 images(, 0:0\d left)?", texts[0])
    assert re.fullmatch(r"outer, inner: \d+ of 40 images, 0:0\d left", texts[1])
    assert texts[-1] == "outer: running" and 3 <= len(texts) <= 6


def test_nothing_is_said_of_short_work_in_muted_blocks_or_by_other_processes(monkeypatch):
    said = []
    monkeypatch.setattr(console.screen, "say", lambda text, style="": said.append(text))
    assert console.FIRST <= 2 and console.LONGEST <= 60
    list(track(range(3), "short", 3, "images"))
    monkeypatch.setattr(console, "FIRST", 0.01)
    with console.muted():
        list(track(slow(0.05, 2), "muted", 2, "images"))
    monkeypatch.setenv("RANK", "1")
    list(track(slow(0.05, 2), "other", 2, "images"))
    assert not said and not console.screen.tasks


def test_messages_of_other_packages_go_to_the_log_file(tmp_path, capsys):
    logger = logging.Logger("run")
    logger.addHandler(logging.StreamHandler(sys.stdout))
    logger.addHandler(logging.FileHandler(tmp_path / "log"))
    logs.plain_lines(logger)
    theirs = dict(__name__="mmengine.hooks.hook", logger=logger)
    exec("logger.warning('theirs'); logger.error('their error')", theirs)
    logger.info("ours")
    logger.info("figures", extra=logs.FILE_ONLY)
    logger.warning("take care")
    assert capsys.readouterr().out == "error: their error\nours\nwarning: take care\n"
    assert (tmp_path / "log").read_text() == "theirs\ntheir error\nours\nfigures\ntake care\n"


def test_python_warnings_of_other_packages_are_not_shown():
    shown = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warnings, "showwarning", lambda *about: shown.append(str(about[0])))
        with logs.warnings_in_log():
            warnings.showwarning("theirs", UserWarning, "/venv/site-packages/torch/ddp.py", 1)
            warnings.showwarning("ours", UserWarning, "ssl_ext/x.py", 1)
    assert shown == ["ours"]


def test_a_slow_first_step_is_explained(monkeypatch, tiny_config, tmp_path, capsys):
    from ssl_ext.apis import pretrain
    from ssl_ext.engine.hooks import console as hook

    monkeypatch.setattr(hook, "SLOW", 0.0)
    tiny_config.train_cfg.max_epochs = 1
    pretrain(tiny_config, work_dir=tmp_path)
    said = capsys.readouterr().out
    assert said.count("The first step takes more than 0 s: 256 images ") == 1


def test_commands_run_as_printed(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/elsewhere/ssl-ext"])
    monkeypatch.setenv("PATH", "/nowhere")
    assert shlex.split(command("report", "a b")) == [sys.executable, "-m", "ssl_ext.cli", "report", "a b"]
    monkeypatch.setattr(sys, "argv", [str(ROOT / "tools/train.py")])
    assert shlex.split(command("report", "a b")) == [sys.executable, str(ROOT / "tools/report.py"), "a b"]


@pytest.mark.parametrize(
    "words",
    [
        ["train.py", ROOT / "configs/_base_/default_runtime.py"],
        ["table.py", "trimix_table1"],
        ["explore.py", "."],
        ["label_curve.py", ROOT / "configs/_base_/default_runtime.py", "."],
        ["benchmark.py", "step"],
        ["dist_train.sh", ROOT / "configs/_base_/default_runtime.py", "2"],
    ],
    ids=lambda words: words[0],
)
def test_a_door_without_the_packages_says_what_to_activate(words, tmp_path):
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    start = "bash" if words[0].endswith(".sh") else bare
    ended = subprocess.run(
        [start, ROOT / "tools" / words[0], *words[1:]], cwd=tmp_path, capture_output=True, text=True,
        env={"PATH": os.environ["PATH"], "PYTHON": str(bare)}, check=False,
    )  # fmt: skip
    assert ended.returncode == 2 and "Traceback" not in ended.stderr
    assert re.fullmatch(
        r"error: \S+ has no package '\w+': activate the environment .*activate\).*\n", ended.stderr
    )
