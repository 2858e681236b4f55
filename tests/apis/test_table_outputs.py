"""Tables drawn from written plans, states and result files with known figures."""

import csv
import fcntl
import io
import re
import time
from dataclasses import replace

import numpy as np
import pytest
from browser import needs_chromium, overflows
from rich.console import Console
from scipy import stats

from ssl_ext.apis.report.references import Reference
from ssl_ext.apis.tables import live
from ssl_ext.apis.tables.jobs import DONE, FAILED, RUNNING, Job, State, write_state
from ssl_ext.apis.tables.locks import take_lock
from ssl_ext.apis.tables.outputs import (
    differences_grid,
    figures_grid,
    table_csv,
    table_grids,
    table_latex,
)
from ssl_ext.apis.tables.page import render_table
from ssl_ext.apis.tables.plan import Cell, Plan, job_folder, write_plan
from ssl_ext.apis.tables.scores import Scores
from ssl_ext.apis.tables.status import left_text, status_lines
from ssl_ext.config.papers import find_tables, read_table
from ssl_ext.evaluation import ResultRow, read_results, write_results

NASTY = "<b>50 % of_all</b> & more"
SEEDS = range(6)
LOG = "epoch   3/200  step  50/195  loss 5.000  320 img/s  ETA 26:00:00\n"


class Written:
    """A table of two rows and two columns, each cell with a pretraining and an evaluation per seed."""

    def __init__(self, folder, *, file=None, seeds=SEEDS, rows=("base", "new"), columns=("knn", "linear")):
        self.folder, self.rows, self.columns = folder / "mine", rows, columns
        cells, self.jobs = [], {}
        for row in rows:
            for column in columns:
                for seed in seeds:
                    train, judge = f"pretrain-{row}-{seed}", f"evaluate-{row}-{column}-{seed}"
                    self.jobs[train] = Job(train, "pretrain", [], ".", config=row, seed=seed)
                    self.jobs[judge] = Job(
                        judge, "evaluate", [], ".", [train], config=row, seed=seed, results="run/results.json"
                    )
                    at = {"method": row, "protocol": column}
                    cells.append(
                        Cell(
                            at,
                            seed,
                            50.0,
                            "acc",
                            row,
                            [],
                            train,
                            judge,
                            {"protocol": column, "recipe": "own"},
                        )
                    )
        cells.append(
            Cell({"method": "none", "protocol": columns[0]}, 0, None, "acc", note="it has no config")
        )
        names = sorted(self.jobs, key=lambda name: name.startswith("evaluate"))
        self.plan = Plan(
            "mine", file and str(file), ["method"], ["protocol"], NASTY, "%", [], list(seeds), cells, names
        )
        write_plan(self.folder, self.plan, self.jobs)

    def place(self, job):
        return job_folder(self.folder, job)

    def done(self, row, column, seed, *figures, recipe="own", **more):
        """Finish a cell with one seed: a result row for each of ``figures``, label draws."""
        write_state(self.place(f"pretrain-{row}-{seed}"), State(DONE))
        job = self.place(f"evaluate-{row}-{column}-{seed}")
        found = [
            ResultRow(row, column, {"acc": x}, {"acc": x}, {}, {}, seed, draw=d, recipe=recipe, **more)
            for d, x in enumerate(figures)
        ]
        write_results(job / "run" / "results.json", found)
        write_state(job, State(DONE))

    def state(self, job, *state, **more):
        write_state(self.place(job), State(*state, **more))

    def read(self):
        return Scores(self.folder).read()


@pytest.fixture
def table(tmp_path):
    return Written(tmp_path)


def fill(table, better=0.03):
    """Finish the linear column: the second row is ``better`` for all seeds."""
    noise = np.random.default_rng(0).normal(0, 0.001, (2, len(SEEDS)))
    values = np.array([[0.5], [0.5 + better]]) + noise
    for row, own in zip(table.rows, values, strict=True):
        for seed, value in zip(SEEDS, own, strict=True):
            table.done(row, "linear", seed, value - 0.01, value + 0.01)
    return values


def test_a_table_with_nothing_done(table):
    layout = table.read()
    grid = figures_grid(layout)
    assert grid.header == ["method", "knn", "linear"]
    assert grid.rows == [["base", "open", "open"], ["new", "open", "open"], ["none", "-", "-"]]
    assert status_lines(layout) == [
        "36 jobs: 0 done, 0 running, 0 failed, 36 open.",
        "not run: it has no config: none (knn).",
        "not run: not planned: none (linear).",
    ]


def test_figures_are_means_over_draws_then_seeds_with_their_interval(table):
    values = fill(table)
    layout = table.read()
    grid = figures_grid(layout)
    for row, own in zip(grid.rows, 100 * values, strict=False):
        mean, low, high = map(float, re.findall(r"[\d.]+", row[2]))
        half = stats.t.ppf(0.975, 5) * stats.sem(own)
        assert (mean, low, high) == pytest.approx(
            (own.mean(), own.mean() - half, own.mean() + half), abs=0.0051
        )
    assert grid.bold == {(1, 2)}
    std = 100 * values[1].std(ddof=1)
    assert rf"\textbf{{52.99 $\pm$ {std:.2f}}}" in table_latex(layout) and "| **52.99 \\[" in grid.markdown()


def test_differences_from_the_first_row_with_corrected_tests(table):
    first, second = fill(table)
    for seed in SEEDS:
        table.done("base", "knn", seed, first[seed])
        table.done("new", "knn", seed, first[seed] + 1e-4 * (-1) ** seed + 2e-5)
    layout = table.read()
    found = {layout.columns[j][0]: one.difference for i, j, one in layout.figures() if i == 1}
    tests = [stats.ttest_rel([*layout.figure(1, j).values.values()], first).pvalue for j in (0, 1)]
    assert tests[1] < tests[0]
    assert found["linear"].p == pytest.approx(2 * tests[1])
    assert found["knn"].p == pytest.approx(max(tests[0], 2 * tests[1]))
    assert found["linear"].over.mean == pytest.approx((second - first).mean())
    (row,) = differences_grid(layout).rows
    assert re.fullmatch(r"\+2\.99 \[\+2\.\d\d,\+3\.\d\d\] p<0\.0001", row[2])


def test_a_named_reference_row(table):
    values = fill(table)
    write_plan(table.folder, type(table.plan)(**{**vars(table.plan), "reference": {"method": "new"}}), {})
    layout = table.read()
    assert layout.figure(1, 1).difference is None and layout.figure(0, 1).difference.base == 1
    assert layout.figure(0, 1).difference.over.mean == pytest.approx((values[0] - values[1]).mean())
    other = Scores(table.folder, dict(method="base")).read()
    assert other.figure(0, 1).difference is None
    assert other.figure(1, 1).difference.over.mean == pytest.approx((values[1] - values[0]).mean())


@pytest.mark.parametrize("reference", [{}, {"method": "base"}])
def test_no_other_row_stands_in_for_the_reference(tmp_path, reference):
    table = Written(tmp_path, rows=("base", "new", "newer"), columns=("knn",))
    write_plan(table.folder, replace(table.plan, reference=reference), {})
    for seed in SEEDS:
        for row in ("new", "newer"):
            table.done(row, "knn", seed, 0.5 + 0.01 * seed * (row == "new"))
    assert not any(figure.difference for *_, figure in table.read().figures())
    table.done("base", "knn", 0, 0.5)
    differences = [figure.difference for *_, figure in table.read().figures()]
    assert [one and one.base for one in differences] == [None, 0, 0]


def test_the_converged_probe_has_its_own_column(table):
    fill(table)
    job = table.place("evaluate-new-linear-0")
    rows = [
        ResultRow("new", "linear", {"acc": x}, {"acc": x}, {}, {}, 0, recipe=recipe)
        for recipe, x in (("own", 0.5), ("trimix-sgd", 0.4))
    ]
    write_results(job / "run" / "results.json", rows)
    grid = figures_grid(table.read())
    assert grid.header[2:] == ["linear: converged", "linear: trimix-sgd"]
    assert grid.rows[1][3] == "40.00 1/6"
    assert grid.rows[0][3] == "open" or grid.rows[0][3] == "no figure"
    assert not any("custom" in note for note in grid.notes)


def test_a_note_says_which_setting_makes_a_recipe_custom(tmp_path):
    table = Written(tmp_path, columns=("knn", "linear-aug", "budget"), seeds=(0,))
    for column, mode in (("knn", None), ("linear-aug", None), ("budget", "unfrozen")):
        table.done("base", column, 0, 0.5, mode=mode)
        table.done("new", column, 0, 0.5, mode=mode, recipe="custom")
    grid = figures_grid(table.read())
    assert grid.header[1:3] == ["knn: own", "knn: custom"]
    note = "custom: the config sets evaluation.finetune, evaluation.knn, evaluation.linear_aug."
    assert note in grid.notes


def test_a_failed_cell_a_running_one_and_a_killed_one(table):
    for seed in SEEDS:
        table.state(f"pretrain-base-{seed}", FAILED, said="error: NaN in 'loss' at step 3.")
    table.state("pretrain-new-0", RUNNING)
    table.state("pretrain-new-1", RUNNING)
    (table.place("pretrain-new-0") / "log.txt").write_text(LOG)
    (table.place("pretrain-new-1") / ".lock").touch()
    with open(table.place("pretrain-new-0") / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        layout = table.read()
    assert figures_grid(layout).rows[:2] == [["base", "failed", "failed"], ["new", "running", "running"]]
    lines = status_lines(layout)
    assert lines[0] == "36 jobs: 0 done, 1 running, 6 failed, 29 open."
    assert (
        "failed: base, seeds 0 1 2 3 4 5: error: NaN in 'loss' at step 3. Log: jobs/pretrain-base-0/log.txt"
        in lines
    )
    assert "running: new, seed 0: pretrain epoch 3 of 200, step 50 of 195, 26 h left" in lines


def test_time_left_is_that_of_finished_jobs_of_the_same_config_else_stage(table):
    def kind(start):
        return [name for name in table.jobs if name.startswith(start)]

    now = time.time()
    for seed in SEEDS:
        table.done("base", "knn", seed, 0.5)
        table.state(f"evaluate-base-knn-{seed}", DONE, seconds=60)
    for name, seconds in zip(kind("pretrain-base"), (1000, 2000, 3000, 3000, 2000, 1000), strict=True):
        table.state(name, DONE, seconds=seconds)
    table.state("pretrain-new-0", RUNNING, since=now - 400)
    (table.place("pretrain-new-0") / ".lock").touch()
    with open(table.place("pretrain-new-0") / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Six trainings of 2,000 s, of which 400 s are over, and 18 evaluations of 60 s.
        seconds = 6 * 2000 - 400 + 18 * 60
        assert status_lines(table.read())[0] == (
            f"36 jobs: 12 done, 1 running, 0 failed, 23 open, about {seconds / 3600:.1f} h left."
        )
        table.state("pretrain-new-1", DONE, seconds=100)
        # Four of 100 s and nothing of the one that runs; evaluations of a failed training never start.
        table.state("pretrain-new-2", FAILED, said="error: NaN.")
        left = 3 * 100 + (6 + 2 * 5) * 60
        assert status_lines(table.read())[0].endswith(f"about {left / 60:.0f} min left.")
        # The time of earlier tries is subtracted, and a job without a lock does not run: 40 s each are left.
        for seed in (3, 4):
            table.state(f"pretrain-new-{seed}", RUNNING, since=now - 60, seconds=60)
        assert status_lines(table.read())[0].endswith(f"about {(left - 120) / 60:.0f} min left.")


def test_time_left_is_at_least_that_of_the_longest_chain():
    chain = [Job("train", "pretrain", [], "."), Job("judge", "evaluate", [], ".", ["train"])]
    others = [Job(f"other-{number}", "pretrain", [], ".") for number in range(8)]
    ended = [Job("trained", "pretrain", [], "."), Job("judged", "evaluate", [], ".")]
    jobs = {job.id: job for job in [*chain, *others, *ended]}
    states = {job.id: State(RUNNING, since=time.time() - 3600) for job in others}
    states |= dict(
        train=State(), judge=State(), trained=State(DONE, seconds=3600), judged=State(DONE, seconds=600)
    )
    assert left_text(jobs, states) == ["about 1.2 h left"]


def test_one_seed_shows_its_stored_interval(tmp_path):
    table = Written(tmp_path, seeds=[3])
    table.done("base", "knn", 3, 0.5, intervals={"last": {"acc": [0.4, 0.6]}, "best": {}, "over": "images"})
    table.done("new", "knn", 3, 0.75)
    layout = table.read()
    assert [row[1] for row in figures_grid(layout).rows] == ["50.00 [40.00,60.00]", "75.00", "-"]
    assert differences_grid(layout).rows == [["new", "+25.00", "-"]]


def test_csv_has_full_precision_and_no_formulas(table):
    values = fill(table)
    table.state("pretrain-base-0", FAILED, said="=1+1")
    table.state("evaluate-base-knn-0", "open")
    records = list(csv.DictReader(io.StringIO(table_csv(table.read()))))
    one = next(r for r in records if (r["method"], r["protocol"]) == ("new", "linear"))
    assert float(one["mean"]) == pytest.approx(values[1].mean(), abs=1e-15)
    assert [float(x) for x in one["values"].split()] == pytest.approx(values[1])
    assert (one["n"], one["done"], one["recipe"], one["seeds"]) == ("6", "6", "own", "0 1 2 3 4 5")
    assert float(one["difference"]) == pytest.approx((values[1] - values[0]).mean())
    failed = next(r for r in records if (r["method"], r["protocol"]) == ("base", "knn"))
    assert (failed["failed"], failed["said"], failed["mean"]) == ("1", "'=1+1", "")


def test_csv_keeps_axes_that_are_called_like_its_columns_and_negative_numbers(table):
    for seed in SEEDS:
        table.done("base", "knn", seed, -0.5)
    cells = [
        replace(cell, at={"metric": cell.at["method"], "n": cell.at["protocol"]}) for cell in table.plan.cells
    ]
    write_plan(table.folder, replace(table.plan, rows=["metric"], columns=["n"], cells=cells), {})
    one = next(csv.DictReader(io.StringIO(table_csv(table.read()))))
    assert (one["axis_metric"], one["axis_n"], one["metric"], one["n"]) == ("base", "knn", "acc", "6")
    assert one["values"] == " ".join(["-0.5"] * 6)


def test_latex_is_escaped(table):
    (grid,) = table_grids(table.read())
    assert r"\textless{}b\textgreater{}50 \% of\_all" in grid.latex("a")


def test_the_page_is_escaped_and_self_contained(table):
    fill(table)
    table.state("pretrain-base-0", FAILED, said="<script>alert(1)</script>")
    table.state("evaluate-base-knn-0", "open")
    run = table.place("pretrain-new-0") / "run"
    log = run / "20260101_000000" / "vis_data" / "scalars.json"
    log.parent.mkdir(parents=True)
    log.write_text("".join(f'{{"loss": {9 - step}, "step": {step}}}\n' for step in range(1, 9)))
    page = render_table(table.read(), table.folder)
    assert "<script" not in page and "&lt;script&gt;alert(1)" in page and NASTY not in page
    assert page.count("<polyline") == 1 and 'points="0.0,0.0 ' in page and " 120.0,28.0" in page
    links = [link for link in re.findall('(?:href|src)="([^"]+)"', page) if not link.startswith("data:")]
    assert all(link.startswith("../jobs/") for link in links)
    assert "../jobs/pretrain-new-0/run/" in links and "../jobs/pretrain-base-0/log.txt" in links


def test_the_page_of_a_half_filled_table(table):
    fill(table)
    page = render_table(table.read(), table.folder)
    assert page.count('class="value best"') == 1 and 'http-equiv="refresh"' in page
    assert page.count('<a class="done"') == 12 and page.count('<a class="open"') == 12
    assert re.search(r"\+2\.99 \[\+2\.\d\d,\+3\.\d\d\]</span>\s*<span class=\"small\">p&lt;0\.0001", page)


@needs_chromium
@pytest.mark.parametrize("width", [1100, 390])
def test_the_page_fits_wide_and_narrow_screens(width, tmp_path):
    table = Written(tmp_path, rows=("base", "a method of a long name"), columns=("knn", "linear", "finetune"))
    for seed in SEEDS:
        table.done("base", "linear", seed, 0.5 + 0.001 * seed)
        table.done("a method of a long name", "linear", seed, 0.6 + 0.002 * seed)
    page = table.folder / "table.html"
    page.write_text(render_table(table.read(), table.folder))
    assert overflows(page, width) == {0}


def test_a_live_table_writes_its_files_when_a_state_changes(table, monkeypatch):
    monkeypatch.setattr(live, "EVERY", 0.0)
    monkeypatch.setattr(live, "SHARE", 1e9)
    text = io.StringIO()
    written = table.folder / "table.csv"
    with live.LiveTable(table.folder, Console(file=text, force_terminal=True, width=100)) as shown:
        first = written.read_text()
        written.unlink()
        shown()
        assert not written.exists()
        table.done("base", "knn", 0, 0.5)
        shown()
        assert written.read_text() != first and "50.00 1/6" in text.getvalue()
        # While a training runs, the page shows its progress each time that it loads itself.
        job = table.place("pretrain-new-0")
        lock = take_lock(job)
        table.state("pretrain-new-0", RUNNING)
        shown()
        (job / "log.txt").write_text(LOG)
        shown()
        assert "epoch 3 of 200" not in (table.folder / "table.html").read_text()
        monkeypatch.setattr(live, "REFRESH", 0)
        shown()
        lock.release()
        assert "epoch 3 of 200" in (table.folder / "table.html").read_text()
    assert sorted(path.name for path in table.folder.glob("table.*")) == [
        "table.csv", "table.html", "table.md", "table.tex",
    ]  # fmt: skip


@pytest.mark.parametrize("path", find_tables("configs/papers"), ids=lambda path: path.stem)
def test_every_table_is_drawn_with_nothing_done(path, tmp_path):
    table = read_table(path)
    job = Job("evaluate-0", "evaluate", [], ".", results="run/results.json")
    cells = [
        Cell(dict(c.at), 0, c.published, c.metric, c.config, evaluate=c.config and job.id, note="none")
        for c in table.cells
    ]
    plan = Plan(
        path.stem, str(path), list(table.rows), list(table.columns), table.source, table.unit,
        list(table.recipes), [0], cells, [job.id], reference=dict(table.reference or {}),
    )  # fmt: skip
    write_plan(tmp_path / path.stem, plan, {job.id: job})
    layout = Scores(tmp_path / path.stem).read()
    (grid,) = table_grids(layout)
    assert {text for row in grid.rows for text in row[len(table.rows) :]} <= {"open", "-"}
    assert render_table(layout, tmp_path).count("<tr>") == len(grid.rows) + 3
    assert len(table_csv(layout).splitlines()) == len(table.cells) + 1


def test_figures_of_other_data_labels_or_protocols_are_not_compared(tmp_path):
    table = Written(tmp_path, rows=("a", "b", "c", "d"), columns=("linear",))
    for seed in SEEDS:
        for k, row in enumerate("abcd"):
            data = {"dataset": {"type": "CIFAR10" if row in "ab" else "STL10"}}
            table.done(row, "linear", seed, 0.1 * k + 0.001 * seed + 0.0001 * k * seed, source=data)
    layout = table.read()
    differences = [layout.figure(i, 0).difference for i in range(4)]
    assert [one and one.base for one in differences] == [None, 0, None, 2]
    assert [layout.figure(i, 0).best for i in range(4)] == [False, True, False, True]
    assert (
        differences_grid(layout).title
        == "Difference from the first row of the same data, labels and protocol"
    )


def test_published_figures_stand_beside_comparable_ones_only(tmp_path, monkeypatch):
    monkeypatch.setattr(
        Reference,
        "differences",
        lambda self, row, which: [] if row.recipe in self.recipes else ["another recipe"],
    )
    path = tmp_path / "mine.py"
    path.write_text(
        "AXES = dict(method=['base', 'new'], protocol=['linear'])\nROWS, COLUMNS = ['method'], ['protocol']\n"
        "CONFIG, EVALUATE, SEEDS = '{method}', dict(protocols='linear'), [0]\n"
        "METRIC, UNIT, SOURCE, PUBLISHED = 'acc', '%', 'A paper', '86.10 -'.replace(' ', chr(10))\n"
    )
    table = Written(tmp_path, file=path, seeds=[0], columns=("linear",))
    write_plan(table.folder, type(table.plan)(**{**vars(table.plan), "recipes": ["thesis"]}), {})
    for row in ("base", "new"):
        table.done(row, "linear", 0, 0.8, recipe="thesis")
        job = table.place(f"evaluate-{row}-linear-0") / "run" / "results.json"
        own = ResultRow(row, "linear", {"acc": 0.9}, {"acc": 0.9}, {}, {}, 0)
        write_results(job, [*read_results(job), own])
    grid = figures_grid(table.read())
    assert grid.rows[:2] == [["base", "80.00 (86.10)", "90.00 †"], ["new", "80.00", "90.00"]]
    assert grid.notes[:2] == [
        f"In brackets: {NASTY}",
        "† not comparable with the published figure, because another recipe: base (linear: converged).",
    ]
