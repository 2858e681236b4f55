"""Tables of experiments: jobs are shared, run once, resumed after any kill, and independent of each other."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from tables import Forked, ForkedLocal

from ssl_ext.apis.tables import Job, Plan, State, jobs, locks, read_state
from ssl_ext.apis.tables.jobs import read_job, write_job, write_state
from ssl_ext.apis.tables.local import Local
from ssl_ext.apis.tables.locks import is_held, take_lock
from ssl_ext.apis.tables.plan import Cell, job_folder, write_plan
from ssl_ext.apis.tables.planning import plan_table, reference_row
from ssl_ext.apis.tables.run import Outcome, plan_in, run_table, run_workers
from ssl_ext.apis.tables.starters import Workers
from ssl_ext.apis.tables.steps import BLOCKED, BUSY, MAX_DEATHS, WAITS, Step, argv, begin
from ssl_ext.cli.console import PlainConsole
from ssl_ext.cli.evaluate import main as evaluate_main
from ssl_ext.cli.table import main as table_main
from ssl_ext.config.papers import read_table
from ssl_ext.errors import UserError

TABLE = """
AXES = dict(batch=[256, 512], protocol=["knn", "linear"])
ROWS, COLUMNS = ["batch"], ["protocol"]
CONFIG = "tiny"
EVALUATE = dict(protocols="{protocol}")
SEEDS = range(2)
METRIC, UNIT, SOURCE = "acc", "%", "none"
PUBLISHED = "1 2\\n3 -"


def cell(batch, protocol):
    return dict(options=[f"train_dataloader.batch_size={batch}"])
"""
# A 2xb1 config, labels, modes, other weights, and further pretraining.
OTHER = """
AXES = dict(weights=["own", "random", "tiny", "further"], labels=[5, "all"], mode=["frozen", "unfrozen"])
ROWS, COLUMNS = ["weights"], ["labels", "mode"]
CONFIG = "tiny_2xb256-one_digits"
EVALUATE = dict(protocols="budget", budgets="{labels}", modes="{mode}")
RECIPES = ("thesis",)
SEEDS = [3]
METRIC, UNIT, SOURCE = "acc", "%", "none"
SKIP = [dict(weights="own", labels=5)]
PUBLISHED = "\\n".join(["- - - -"] * 4)


def cell(weights, **at):
    return dict(pretrain={"random": False, "tiny": "tiny"}.get(weights, True),
                init="tiny" if weights == "further" else None)
"""


@pytest.fixture
def place(tiny_config, tmp_path):
    """A folder with a table and its configs."""
    tiny_config.train_cfg.max_epochs = 1
    tiny_config.custom_hooks = [dict(type="RandomStateHook")]
    tiny_config.model.backbone.update(stem_channels=4, base_channels=4)
    tiny_config.model.neck.in_channels = 32
    tiny_config.default_hooks.logger.interval = 1
    tiny_config.visualizer.vis_backends = [dict(type="LocalVisBackend")]
    for name in ("tiny", "tiny_2xb256-one_digits"):
        tiny_config.dump(tmp_path / f"{name}.py")
    (tmp_path / "table.py").write_text(TABLE)
    (tmp_path / "other.py").write_text(OTHER)
    return tmp_path


def planned(place, name="table", **settings):
    return plan_table(read_table(place / f"{name}.py"), name, place / "out", **settings)


def test_cells_and_tables_share_jobs(place):
    found = planned(place)
    plan, jobs = found.plan, found.jobs
    assert [job.stage for job in jobs.values()] == ["pretrain", "evaluate"] * 4
    assert [job.seed for job in jobs.values()] == [0] * 4 + [1] * 4
    assert [(cell.at["batch"], cell.at["protocol"], cell.seed) for cell in plan.cells[:5]] == [
        *[(256, "knn", 0), (256, "knn", 1), (256, "linear", 0), (256, "linear", 1), (512, "knn", 0)],
    ]
    knn, linear = plan.cells[0], plan.cells[2]
    assert (knn.pretrain, knn.evaluate) == (linear.pretrain, linear.evaluate)
    assert jobs[knn.evaluate].after == [knn.pretrain]
    assert f"checkpoint:{knn.pretrain}" in jobs[knn.evaluate].command
    assert (knn.published, plan.cells[-1].published) == (1, None)
    assert knn.select | dict(protocol="linear") == linear.select

    # The content counts, not the path of the file; evaluation settings do not change the training.
    (place / "tiny.py").rename(place / "renamed.py")
    (place / "table.py").write_text(TABLE.replace('"tiny"', '"renamed"'))
    same = planned(place, options=["evaluation.knn.k=3"])
    assert [name for name in same.jobs if "pretrain" in name] == [n for n in jobs if "pretrain" in n]
    assert not [name for name in same.jobs if "evaluate" in name and name in jobs]
    for changed in (
        dict(options=["optim_wrapper.optimizer.lr=0.5"]),
        dict(options=["train_dataloader.dataset.data_root=x"]),
        dict(train_args=["--compile"]),
        dict(seeds=[5, 6]),
    ):
        assert not set(planned(place, **changed).jobs) & set(jobs), changed
    assert set(planned(place, options=["train_dataloader.dataset.download=True"]).plan.jobs) == {
        *same.plan.jobs, *jobs
    } - {name for name in same.plan.jobs if "evaluate" in name}  # fmt: skip


def test_labels_weights_and_initial_weights(place):
    found = planned(place, "other")
    plan, jobs = found.plan, found.jobs
    assert plan.notes == ["tiny_2xb256-one_digits is for 2 processes of 256 images; here 1 of 512."]
    own, random, tiny, further = (plan.cells[number] for number in (2, 4, 8, 12))
    assert plan.cells[0].evaluate is None and plan.cells[0].note == "the table has no config for this cell"
    command = jobs[random.evaluate].command
    assert command[command.index("--budgets") :][:3] == ["--budgets", "5", "all"]
    assert command[command.index("--modes") :][:3] == ["--modes", "frozen", "unfrozen"]
    assert command[command.index("--recipe") + 1] == "thesis"
    assert len({cell.evaluate for cell in plan.cells}) == 5
    assert random.pretrain is None and not jobs[random.evaluate].after
    assert random.select == dict(
        protocol="budget", mode="frozen", budget=5, fraction=None, labels_per_class=None, seed=3
    )
    assert plan.cells[6].select["budget"] is None
    assert jobs[tiny.pretrain].config == "tiny"
    assert jobs[further.pretrain].after == [tiny.pretrain]
    assert f"checkpoint:{tiny.pretrain}" in jobs[further.pretrain].command
    assert jobs[own.pretrain].options == ["train_dataloader.batch_size=512"]
    assert further.pretrain not in (own.pretrain, tiny.pretrain)
    for job in jobs.values():
        assert job.stage == "pretrain" or "--resume" in job.command
    several = planned(place, "other", most_processes=8)
    assert set(several.plan.processes.values()) == {2}
    job = next(job for job in several.jobs.values() if job.processes == 2)
    assert not job.options and not several.plan.notes


def test_supervised_rows_train_on_their_labels_alone(place, capsys):
    scratch = """
AXES = dict(labels=[5, 20])
ROWS, COLUMNS = [], ["labels"]
CONFIG, EVALUATE, DRAWS = "tiny", dict(protocols="supervised", budgets="{labels}"), 2
METRIC, UNIT, SOURCE, PUBLISHED = "acc", "%", "none", "- -"


def cell(labels):
    return dict(pretrain=False)
"""
    (place / "scratch.py").write_text(scratch)
    (job,) = planned(place, "scratch").jobs.values()
    assert job.stage == "finetune"
    evaluate_main([*job.command[2:], "--dry-run"])
    said = [line.strip() for line in capsys.readouterr().out.splitlines() if "supervised: " in line]
    assert said == [
        f"supervised: supervised, {n} labels, seed 0, draw {draw}" for n in (5, 20) for draw in (0, 1)
    ]


def test_other_files_of_the_same_name_are_other_jobs(place, monkeypatch):
    text = TABLE.replace("return dict(", "return dict(pretrain='w.pth' if batch == 512 else True, ")
    (place / "table.py").write_text(text)
    found = []
    for folder, content in (("a", "1"), ("b", "1"), ("b", "2")):
        (place / folder).mkdir(exist_ok=True)
        (place / folder / "w.pth").write_text(content)
        monkeypatch.chdir(place / folder)
        trained, given = (planned(place, seeds=[0]).plan.cells[number] for number in (0, 2))
        roots = [f"{key}.data_root=x" for key in ("train_dataloader.dataset", "evaluation_dataset")]
        relative = planned(place, seeds=[0], options=roots).plan.cells[0]
        found.append((trained.evaluate, relative.pretrain, relative.evaluate, given.evaluate))
    plain, training, evaluation, weights = zip(*found, strict=True)
    assert len(set(plain)) == 1
    for ids in (training, evaluation):
        assert ids[0] != ids[1] == ids[2]
    assert weights[0] == weights[1] != weights[2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(only=["colour=red"]), "one of the axes batch, protocol"),
        (dict(only=["batch=256,7"]), "--only batch=7: the table has 256, 512"),
        (dict(only=["batch"]), "give axis=value,value"),
        (dict(seeds=[1, 1]), "each once"),
        (dict(options=["modle.x=1"]), "modle"),
    ],
)
def test_bad_choices_are_one_sentence(place, settings, message):
    with pytest.raises(UserError, match=message):
        planned(place, **settings)
    for wrong in (["batch=7"], ["protocol=knn"], ["batch"]):
        with pytest.raises(
            UserError, match=f"--reference {wrong[0]}: .* no such row, but batch=256; batch=512"
        ):
            reference_row(read_table(place / "table.py"), wrong)
    assert reference_row(read_table(place / "table.py"), ["batch=512"]) == dict(batch="512")
    chosen = planned(place, only=["batch=256", "protocol=knn"], seeds=[9])
    assert [cell.seed for cell in chosen.plan.cells] == [9] and len(chosen.jobs) == 2


def test_missing_data_stop_the_table_or_are_skipped(place):
    text = (place / "tiny.py").read_text().replace("type='Digits'", "data_root='nowhere', type='CIFAR10'")
    (place / "absent.py").write_text(text.replace("image_size=8,", ""))
    text = TABLE.replace("batch=[256, 512]", "batch={256: 'tiny', 512: 'absent'}")
    (place / "table.py").write_text(text.replace('CONFIG = "tiny"', 'CONFIG = "{batch}"'))
    read = partial(plan_in, read_table(place / "table.py"), "table", place / "out")
    with pytest.raises(UserError, match=r"A data set is missing.*CIFAR10: nothing found at .*nowhere"):
        read()
    planned = read(dry_run=True).planned
    assert len(planned.jobs) == 8 and "Missing: " in planned.plan.notes[-1]
    assert not (place / "out").exists()
    outcome = read(skip_missing=True)
    assert len(outcome.planned.jobs) == 4
    noted = [cell.note for cell in outcome.planned.plan.cells if cell.evaluate is None]
    assert len(noted) == 4 and all("CIFAR10" in note for note in noted)


def digests(out):
    """Hashes of final weights, and of the metrics of all evaluations."""
    found = {}
    for path in sorted(out.glob("jobs/*/run/epoch_1.pth")):
        digest = hashlib.sha256()
        for name, value in torch.load(path, weights_only=True)["state_dict"].items():
            digest.update(name.encode() + value.numpy().tobytes())
        found[path.parts[-3]] = digest.hexdigest()
    for path in sorted(out.glob("jobs/*/run/results.json")):
        rows = json.loads(path.read_text())
        found[path.parts[-3]] = [(row["protocol"], row["last"], row["best"]) for row in rows]
    return found


def lines(out):
    return sum(path.read_text().count("Epoch(train)") for path in out.glob("jobs/*/run/*/*.log"))


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_kills_change_nothing_and_two_drivers_run_each_job_once(place):
    """A training, a worker and a driver are killed; two drivers then finish."""
    make = partial(plan_in, read_table(place / "table.py"), "table", only=["batch=256"])
    whole, killed = make(place / "whole"), make(place / "killed")
    run_workers(whole, ForkedLocal, 2, [])
    assert whole.counts == {"done": 4}
    assert {state.tries for state in whole.states.values()} == {1}

    out, folder = place / "killed", killed.folder
    trained = [job_folder(folder, name) for name in killed.planned.jobs if "pretrain" in name]
    driver = ForkedLocal(folder)
    driver.start(1)
    until(lambda: lines(out) > 0)
    # The lock is that of the training, which lives on.
    assert is_held(trained[0]) and take_lock(trained[0]) is None
    assert begin(trained[0]) == BUSY
    os.kill(driver.running[0].pid, signal.SIGKILL)
    driver.running[0].wait()
    until(lambda: not is_held(trained[0]))
    # The training was told, and saved; or it has ended.
    assert read_state(trained[0]).status == "running"
    assert list((trained[0] / "run").glob("*.pth"))

    driver = ForkedLocal(folder)
    before = lines(out)
    driver.start(1)
    until(lambda: lines(out) > before)
    driver.stop()
    assert driver.running[0].returncode == 143
    assert "running" not in {read_state(place).status for place in trained}

    drivers = [ForkedLocal(folder), ForkedLocal(folder)]
    until(lambda: not sum(driver.start(1) for driver in drivers))
    assert digests(out) == digests(place / "whole") and len(digests(out)) == 4
    states = {name: read_state(job_folder(folder, name)) for name in killed.planned.jobs}
    assert {state.status for state in states.values()} == {"done"}
    assert [state.tries for name, state in states.items() if "evaluate" in name] == [1, 1]
    # The same command has nothing to do.
    assert make(out).counts == {"done": 4}


@pytest.fixture
def shell(tmp_path):
    """Plan shell commands as the jobs of a table; the outcome with its folder."""

    def make(commands, after=(), **settings):
        jobs = {
            name: Job(
                name, "pretrain", ["sh", "-c", text], str(tmp_path), dict(after).get(name, []), **settings
            )
            for name, text in commands.items()
        }
        plan = Plan("shell", None, [], [], "", "", [], [0], [], list(jobs))
        folder = tmp_path / "out" / "shell"
        write_plan(folder, plan, jobs)
        return Outcome(replace_planned(plan, jobs), folder, {})

    return make


def replace_planned(plan, jobs):
    return type("Planned", (), dict(plan=plan, jobs=jobs))


def test_a_failing_job_stops_only_those_that_wait_for_it(shell):
    commands = dict(
        a="echo step; echo 'error: out of luck' >&2; echo more; exit 2", b="exit 0", c="exit 0", d="exit 0"
    )
    outcome = run_workers(shell(commands, after=dict(b=["a"], c=["b"]).items()), Local, 1, [])
    assert {name: state.status for name, state in outcome.states.items()} == dict(
        a="failed", b="open", c="open", d="done"
    )
    assert (outcome.states["a"].said, outcome.states["a"].code) == ("out of luck", 2)
    assert begin(job_folder(outcome.folder, "b")) == BLOCKED
    assert begin(job_folder(outcome.folder, "c")) == WAITS
    log = (outcome.folder / "workers.log").read_text()
    assert "failed a" in log and "out of luck" in log and "done d" in log


def test_a_view_that_fails_stops_no_job_and_no_jobs_need_no_worker(shell, monkeypatch):
    def view():
        calls.append(None)
        raise FileNotFoundError("run/None")

    calls, said = [], []
    monkeypatch.setattr("ssl_ext.apis.tables.run.print_log", lambda text, **more: said.append(text))
    outcome = run_workers(shell(dict(a="sleep 1")), Local, 1, [view])
    assert outcome.counts == {"done": 1} and len(calls) > 1
    assert said == ["Not drawn: run/None"]
    assert run_workers(shell({}), Local, 1, [view]).states == {}


def test_a_worker_that_no_command_watches_writes_the_table(shell):
    for name, words in dict(a=[], b=["--no-wait"]).items():
        outcome = shell({name: "true"})
        cell = Cell(dict(method="x", data="y"), 0, None, "acc", note="none")
        plan = replace(outcome.planned.plan, rows=["method"], columns=["data"], cells=[cell])
        write_plan(outcome.folder, plan, {})
        command = partial(table_main, ["--work", str(outcome.folder), *words])
        assert Forked(command, sys.stdout.fileno(), {}).wait() == 0
        assert (outcome.folder / "table.html").exists() == (words != [])


def test_the_results_that_another_table_reads_are_kept(tmp_path):
    job = Job("pretrain-a", "pretrain", [], ".", results="run/detection.json")
    write_job(tmp_path, job)
    write_job(tmp_path, replace(job, results=None, cwd="/"))
    assert read_job(tmp_path) == replace(job, cwd="/")


def test_the_lock_lives_as_long_as_the_command(shell):
    folder = job_folder(shell(dict(a="trap 'exit 143' TERM; while sleep 0.05; do :; done")).folder, "a")
    step = begin(folder)
    step.lock.release()  # as if the worker were killed
    assert is_held(folder) and begin(folder) == BUSY
    step.child.kill()
    step.child.wait()
    until(lambda: not is_held(folder))
    # After SIGTERM the job is open, and no death is counted.
    step = begin(folder)
    assert (step.state.tries, step.state.deaths) == (2, 1)
    until(lambda: "sleep" in subprocess.run(["ps", "-o", "args=", "--ppid", str(step.child.pid)],
                                            capture_output=True, text=True).stdout)  # fmt: skip
    step.stop()
    assert step.finish() == "open" and step.state.deaths == 1 and step.state.code == 143


def test_a_state_may_be_written_for_the_first_time_while_it_is_read(tmp_path, monkeypatch):
    """Another worker writes it between the attempt to read and the next look at the folder."""

    def missing(path, *about):
        write_state(tmp_path, State(status="running"))
        raise UserError(f"'{path}' does not exist.")

    monkeypatch.setattr(jobs, "read_json", missing)
    assert read_state(tmp_path) == State()
    monkeypatch.undo()
    write_state(tmp_path, State(status="running"))
    assert read_state(tmp_path).status == "running"
    (tmp_path / jobs.STATE).write_text("")
    assert read_state(tmp_path) == State()


def test_a_driver_that_is_told_to_stop_tells_its_jobs(shell, tmp_path):
    outcome = shell(dict(a="trap 'exit 143' TERM; echo up; while sleep 0.05; do :; done"))
    folder = job_folder(outcome.folder, "a")
    with open(tmp_path / "said", "ab") as said:
        driver = Forked(lambda: run_workers(outcome, Local, 1, []), said.fileno(), {})
    until(lambda: "\nup" in ((folder / "log.txt").read_text() if (folder / "log.txt").exists() else ""))
    driver.terminate()
    assert driver.wait() == 143
    state = read_state(folder)
    assert (state.status, state.tries, state.deaths) == ("open", 1, 0)
    until(lambda: not is_held(folder))


def test_a_job_that_dies_without_progress_fails_in_the_end(shell):
    folder = job_folder(shell(dict(a="kill -9 $$")).folder, "a")
    for number in range(1, MAX_DEATHS + 1):
        step = begin(folder)
        assert isinstance(step, Step)
        status = step.finish()
        assert status == ("open" if number < MAX_DEATHS else "failed")
    assert "killed 10 times" in step.state.said and begin(folder) == "failed"
    # With a checkpoint, or the state of a classifier's training, at every try it goes on.
    folder = job_folder(shell(dict(b="touch out/jobs/b/run/unfinished/a.pth; kill -9 $$")).folder, "b")
    (folder / "run" / "unfinished").mkdir(parents=True)
    for _ in range(3):
        step = begin(folder)
        assert step.finish() == "open" and step.state.deaths == 1


def test_the_time_of_a_failed_try_counts_up_to_its_newest_checkpoint(shell):
    touch = "mkdir -p out/jobs/{0}/run; touch -d '100 seconds' out/jobs/{0}/run/a.pth; "
    outcome = shell(dict(a="exit 2", b=touch.format("b") + "exit 2", c=touch.format("c")))
    for name, seconds in dict(a=0, b=100, c=0).items():
        step = begin(job_folder(outcome.folder, name))
        step.finish()
        assert step.state.seconds == pytest.approx(seconds, abs=2)
    # As if the job had been killed with its worker.
    write_state(step.folder, State("running", since=time.time() - 50))
    step = begin(step.folder)
    assert step.state.seconds == pytest.approx(150, abs=2)
    step.finish()


def test_a_missing_result_or_checkpoint_is_a_failure(shell, tmp_path):
    outcome = shell(dict(a="exit 0"), results="run/results.json")
    step = begin(job_folder(outcome.folder, "a"))
    assert step.finish() == "failed" and step.state.said == "it wrote no run/results.json"
    jobs = dict(b=Job("b", "evaluate", ["ssl-ext", "evaluate", "x", "checkpoint:a"], str(tmp_path)))
    write_plan(outcome.folder, replace(outcome.planned.plan, jobs=["b"]), jobs)
    assert begin(job_folder(outcome.folder, "b")) == "failed"
    assert "has no checkpoint" in read_state(job_folder(outcome.folder, "b")).said


def test_the_newest_checkpoint_and_a_launcher_for_several_processes(tmp_path):
    run = tmp_path / "a" / "run"
    run.mkdir(parents=True)
    for name in ("epoch_9.pth", "epoch_10.pth", "interrupted.pth"):
        (run / name).touch()
    job = Job("b", "evaluate", ["ssl-ext", "evaluate", "x.py", "checkpoint:a"], ".")
    assert argv(tmp_path / "b", job) == [
        *[sys.executable, "-m", "ssl_ext.cli", "evaluate", "x.py", str(run / "epoch_10.pth")]
    ]
    words = argv(tmp_path / "b", replace(job, command=["ssl-ext", "train", "x.py"], processes=4))
    assert words[1:3] == ["-m", "ssl_ext.cli.launch"] and "--nproc_per_node=4" in words
    assert words[-4:] == ["-m", "ssl_ext.cli", "train", "x.py"]


def test_leases_where_there_are_no_locks(shell, monkeypatch):
    def refuse(*args):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    folder = job_folder(shell(dict(a="sleep 0.2", b="exit 0")).folder, "a")
    step = begin(folder)
    assert is_held(folder) and begin(folder) == BUSY and step.lock.handle is None
    assert step.finish() == "done" and not is_held(folder)
    # The holder is gone: a lease that was not renewed is void, and its holder learns it.
    folder = folder.parent / "b"
    first = take_lock(folder)
    assert take_lock(folder) is None and first.renew()
    os.utime(folder / ".claim.1", (0, 0))
    second = take_lock(folder)
    assert second.number == 2 and not first.renew() and second.renew()
    first.release()
    assert is_held(folder)
    second.release()
    assert not is_held(folder) and take_lock(folder).number == 3
    # A process with locks respects the lease of one without.
    monkeypatch.undo()
    assert take_lock(folder) is None
    # A holder whose lease was taken writes no state, even if its command had ended by then.
    folder = job_folder(shell(dict(c="exit 0")).folder, "c")
    monkeypatch.setenv(locks.LEASES, "1")
    step = begin(folder)
    os.utime(folder / ".claim.1", (0, 0))
    assert take_lock(folder).number == 2
    assert step.finish() is None and read_state(folder).status == "running"


def test_the_command_runs_a_table_and_tries_failed_jobs_again(place, capsys):
    choice = dict(out=place / "out", only=["batch=256"], seeds=[0], workers=Workers(ForkedLocal, 1, 1))
    run = partial(run_table, str(place / "table.py"), PlainConsole(), **choice)
    assert run(dry_run=True) == 0 and not (place / "out").exists()
    said = " ".join(capsys.readouterr().out.split())
    assert "pretrain: 1 open evaluate: 1 open" in said and "train_dataloader.batch_size=" in said
    assert run() == 0
    said = capsys.readouterr().out
    assert "done pretrain-" in said and "done evaluate-" in said
    (folder,) = (path for path in (place / "out").iterdir() if path.name != "jobs")
    assert folder.name.startswith("table-") and (folder / "table.html").is_file()
    # Failed jobs stay so until they are asked for.
    (job,) = (place / "out" / "jobs").glob("evaluate-*")
    write_state(job, State("failed", said="x"))
    assert run() == 1 and read_state(job).status == "failed"
    assert run(retry_failed=True) == 0 and read_state(job).status == "done"
    # A job that is left open is no success; another file of that name has no place here.
    write_state(job, State("open"))
    idle = type("Idle", (ForkedLocal,), dict(start=lambda self, n: 0))
    assert run(workers=Workers(idle, 1, 1)) == 1
    (place / "more").mkdir()
    other = place / "more" / "table.py"
    other.write_text(TABLE + "# mine\n")
    with pytest.raises(UserError, match=r"is the folder of another table, '.*/table.py': rename"):
        run_table(str(other), PlainConsole(), **choice)


def test_a_worker_imports_no_torch():
    program = (
        "import ssl_ext.apis.tables.worker, sys; print(sorted({'torch', 'mmengine'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
    where = Path("no", "table")
    said = subprocess.run(
        [sys.executable, "-m", "ssl_ext.cli", "table", "--work", where], capture_output=True, text=True
    )
    assert said.returncode == 2 and said.stderr == (
        "error: --work 'no/table' has no plan.json: give the folder of a planned table.\n"
    )
