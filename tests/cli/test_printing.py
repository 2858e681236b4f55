"""Printed and written output: paths and names unchanged, ASCII terminals, and a full disk in one sentence."""

import csv
import errno
import io
import json
import logging
import os
import resource
import sys
from contextlib import nullcontext, suppress
from dataclasses import asdict

import pytest

from ssl_ext.cli import report, visualize
from ssl_ext.cli.console import PIPED, PlainConsole
from ssl_ext.errors import run_tool, user_errors
from ssl_ext.evaluation import ResultRow
from ssl_ext.files import replacing, write_text

ODD = os.fsdecode(b"caf\xe9")


def row(method="A", seed=0, **source):
    metrics = dict(acc=0.9 - seed / 10, confusion=[[3, 1], [0, 4]])
    source = dict(classes=["x", "y"], pretraining=dict(seed=seed)) | source
    return asdict(ResultRow(method, "knn", metrics, metrics, {}, dict(train=8, test=8), 0, source=source))


@pytest.fixture
def results(tmp_path):
    def write(*rows, name="r"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "results.json").write_text(json.dumps(rows))
        return tmp_path / name

    return write


@pytest.fixture
def tool(monkeypatch):
    """Run a command in this process with a terminal of an encoding; return its status, output and errors."""

    def run(command, *words, encoding="utf-8"):
        streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
        monkeypatch.setattr(sys, "stdout", streams[0])
        monkeypatch.setattr(sys, "stderr", streams[1])
        monkeypatch.delenv("SSL_EXT_TRACEBACK", raising=False)
        monkeypatch.setattr(logging, "raiseExceptions", True)
        try:
            run_tool(lambda: command.main([str(word) for word in words]))
            status = 0
        except SystemExit as stop:
            status = stop.code
        for stream in streams:
            stream.flush()
        return status, *(stream.buffer.getvalue() for stream in streams)

    return run


@pytest.mark.parametrize("name", ["o[b]", "o[/b]", "o[bold red]x[/]", ":smile:", ODD, "a\x1b[31mb"])
def test_paths_are_printed_as_they_are(name, results, tool, tmp_path):
    status, out, _ = tool(report, results(row()), "--out", tmp_path / name)
    assert status == 0
    printed = name.replace("\x1b", r"\x1b")
    assert b"wrote " + os.fsencode(tmp_path / printed / "results.csv\n") in out
    assert (tmp_path / name / "report.html").is_file()


@pytest.mark.parametrize("method", ["[b]", "[/b]x", "A [B]", "x[link=http://a]y"])
def test_names_in_tables_are_printed_as_they_are(method, results, tool, tmp_path):
    _, out, _ = tool(report, results(row(method)), "--out", tmp_path / "out")
    assert "".join(method.split()) in "".join(out.decode().replace("│", "").split())


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1", "cp1252"])
def test_a_terminal_without_utf8_gets_its_table(encoding, results, tool, tmp_path):
    folder = results(row("Ünïcode → λ"), row("Ünïcode → λ", 1))
    status, out, _ = tool(report, folder, "--join-runs", "--out", tmp_path / "ö", encoding=encoding)
    lines = out.decode(encoding).splitlines()
    assert status == 0
    assert any("85.00 +- 7.07" in line for line in lines), lines
    assert any("\\xdcn" in line for line in lines)
    table = [line for line in lines if line.startswith(("|", "+"))]
    assert len(table) > 3 and len({len(line) for line in table}) == 1


def test_an_error_in_ascii(tool, tmp_path):
    status, _, errors = tool(report, tmp_path / "nö…", encoding="ascii")
    assert status == 2 and b"n\\xf6...' does not exist" in errors


@pytest.mark.parametrize("method", ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2+3", "\t=1", "a\n\nb|c"])
def test_what_is_written_is_escaped(method, results, tool, tmp_path):
    tool(report, results(row(method)), "--out", tmp_path / "out")
    with open(tmp_path / "out" / "results.csv", newline="") as file:
        (record,) = csv.DictReader(file)
    assert record["method"] == (method if method[0] == "a" else f"'{method}")
    assert float(record["acc_mean"]) == 0.9
    table = [line for line in (tmp_path / "out" / "results.md").read_text().splitlines() if "90.00" in line]
    assert len(table) == 1 and table[0].replace(r"\|", "").count("|") == 6
    latex = (tmp_path / "out" / "results.tex").read_text()
    assert "\n\n" not in latex and latex.count("90.00") == 1


def test_names_that_are_not_utf8_in_every_output(results, tool, tmp_path):
    source = dict(dataset=dict(type="FolderDataset", data_root=f"data/{ODD}"), classes=[ODD, "y"])
    folder = results(row(ODD, **source), row("B", **source), name=ODD)
    assert tool(report, folder, "--out", tmp_path / "out")[0] == 0
    for name in ("csv", "md", "tex"):
        assert (tmp_path / "out" / f"results.{name}").read_text(encoding="utf-8")
    results(row(ODD, **source), name=ODD)
    for name in ("scores", "confusion"):
        assert tool(visualize, name, folder / "results.json", "--out", tmp_path / ODD)[0] == 0
        assert (tmp_path / ODD / f"{name}.pdf").is_file()


@pytest.mark.parametrize("command", [report, visualize])
@pytest.mark.parametrize("place", ["/proc/none", "/dev/null/a", "{file}", "{file}/a", "a" * 300, "a\0b"])
def test_unwritable_places_are_found_before_the_work(command, place, results, tool, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("ssl_ext.apis.report.run.render_page", None)
    monkeypatch.setattr("ssl_ext.apis.figures.scores_figure", None)
    words = ["scores"] if command is visualize else []
    place = place.format(file=tmp_path / "file")
    status, _, errors = tool(command, *words, results(row()) / "results.json", "--out", place)
    assert status == 2 and b"cannot be written to" in errors and errors.count(b"\n") == 1
    assert (tmp_path / "file").read_text() == ""


@pytest.fixture
def full_disk():
    """No file may grow beyond 1000 bytes, which fails as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_one_sentence(results, tool, tmp_path, full_disk):
    # The file of results may be longer than the limit: two short rows.
    folder = results(dict(row(), settings={}, source={}))
    for command, words in ((report, ()), (visualize, ("scores",))):
        place = folder / "results.json" if words else folder
        status, _, errors = tool(command, *words, place, "--out", tmp_path / "out")
        assert status == 2 and errors.count(b"\n") == 1
        assert b"could not be written: File too large." in errors
    assert not [path for path in (tmp_path / "out").iterdir() if path.stat().st_size == 1000]


def test_a_full_disk_keeps_the_older_file(tmp_path, full_disk):
    write_text(tmp_path / "a", "old")
    with pytest.raises(ValueError, match=r"a' could not be written: File too large\."):
        write_text(tmp_path / "a", "x" * 2000)
    with pytest.raises(ValueError, match="could not be written"), replacing(tmp_path / "a") as file:
        file.write(bytes(2000))
        file.flush()
    assert (tmp_path / "a").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_an_error_of_the_system_is_one_sentence(number, tool):
    class Command:
        @staticmethod
        def main(words):
            with user_errors("config") if number != errno.EACCES else nullcontext():
                raise OSError(number, os.strerror(number), "runs/scalars.json")

    status, _, errors = tool(Command)
    assert status == 2
    assert errors.decode() == f"error: 'runs/scalars.json': {os.strerror(number)}.\n"


def test_a_log_on_a_full_disk_prints_no_tracebacks(tool):
    class Command:
        @staticmethod
        def main(words):
            logger = logging.Logger("full")
            logger.addHandler(logging.FileHandler("/dev/full", delay=True))
            logger.error("a line")

    assert tool(Command) == (0, b"", b"")


def test_the_streams_are_those_of_before_afterwards(tool):
    assert tool(Quiet)[0] == 0
    assert (sys.stdout.errors, sys.stderr.errors, logging.raiseExceptions) == ("strict", "strict", True)


class Quiet:
    @staticmethod
    def main(words):
        assert sys.stdout.errors != "strict"


def test_a_full_device_as_output(results, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("SSL_EXT_TRACEBACK", raising=False)
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as stop:
            run_tool(lambda: report.main([str(results(row())), "--out", str(tmp_path / "out")]))
        monkeypatch.undo()
        assert stop.value.code == 2
        assert capsys.readouterr().err.endswith("error: the output: No space left on device.\n")
        with suppress(OSError):
            full.close()


@pytest.mark.parametrize(("columns", "width"), [(None, PIPED), ("90", 90)])
def test_tables_in_a_pipe_have_long_lines_unless_columns_is_set(columns, width, monkeypatch, capsys):
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    assert PlainConsole().width == width
