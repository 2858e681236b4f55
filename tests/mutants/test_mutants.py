"""Planted bugs: the table matches the code, the runner detects survivors, and a sample is run."""

import ast
import multiprocessing
import os
import random
from collections import Counter
from datetime import date

import pytest
from run import ROOT, Copy
from table import MUTANTS, Mutant

ROOMS = (
    *("cli", "apis", "exporting", "detection", "config", "engine", "engine/hooks", "engine/weights"),
    *("models", "datasets", "evaluation", "visualization", "mixups", "losses", "augment", "capture", ""),
)
# A different sample every day.
SEED = int(os.environ.get("MUTANTS_SEED", date.today().toordinal()))
AT_A_TIME = 20


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_the_text_is_there_once_and_the_bug_is_python(mutant):
    ast.parse(mutant.applied((ROOT / mutant.path).read_text(encoding="utf-8")))
    for place in mutant.tests:
        path, _, name = place.partition("::")
        assert f"def {name.partition('[')[0]}" in (ROOT / "tests" / path).read_text(encoding="utf-8")


def test_every_room_has_two():
    run = [mutant.file for mutant in MUTANTS if not mutant.equivalent]
    counts = Counter(place for file in run for place in (file.rpartition("/")[0], file.partition("/")[0]))
    counts[""] = sum("/" not in file for file in run)
    assert {room: counts[room] for room in ROOMS if counts[room] < 2} == {}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A repository with one function and one test."""
    root = tmp_path_factory.mktemp("small")
    for name, text in (
        ("ssl_ext/__init__.py", ""),
        ("ssl_ext/one.py", "def double(x):\n    return 2 * x\n"),
        ("tests/test_one.py", "from ssl_ext.one import double\n\n\ndef test():\n    assert double(2) == 4\n"),
    ):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_bug_is_caught_or_survives_in_a_copy(small, tmp_path, monkeypatch):
    # Tests of this repository need no torch, which the server imports.
    monkeypatch.setattr("run.SERVER", multiprocessing.get_context("spawn"))
    copy, text = Copy(tmp_path, small), (small / "ssl_ext/one.py").read_text()

    def survives(old, new):
        return copy.survives(Mutant("one.py", "a bug", ("test_one.py::test",), ((old, new),)))

    assert not survives("2 * x", "3 * x")
    assert survives("2 * x", "x * x")
    with pytest.raises(RuntimeError, match="ended with status"):
        survives("def double", "def triple")
    with pytest.raises(ValueError, match="2 times in the file: 'x'"):
        survives("x", "y")
    assert (small / "ssl_ext/one.py").read_text() == (copy.folder / "ssl_ext/one.py").read_text() == text


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    return Copy(tmp_path_factory.mktemp("copy"))


RUN = [mutant for mutant in MUTANTS if not mutant.equivalent]


@pytest.mark.slow
@pytest.mark.parametrize("mutant", random.Random(SEED).sample(RUN, AT_A_TIME), ids=str)
def test_a_planted_bug_is_noticed(mutant, copy):
    assert not copy.survives(mutant), f"MUTANTS_SEED={SEED}: tests pass with {mutant}"
