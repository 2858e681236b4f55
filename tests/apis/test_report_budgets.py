"""The table of label budgets, and published figures beside measured ones."""

import io

import pytest
import yaml
from rich.console import Console

from ssl_ext.apis.report import report
from ssl_ext.errors import UserError
from ssl_ext.evaluation import ResultRow, write_results

NAT = "configs/medical/simclr-nat_resnet18_bloodmnist.py"


def row(method, protocol, acc, *, config=NAT, checkpoint=None, data="bloodmnist", settings=None, **more):
    metrics = {"acc": acc, "auc": acc / 2}
    source = {
        "checkpoint": checkpoint and {"path": f"{checkpoint}/epoch_2.pth", "sha256": f"sha-{checkpoint}"},
        "config": config,
        "dataset": {"type": "MedMNIST", "name": data},
    }
    fields = dict(settings=settings or {}, sizes={"test": 8}, seed=0, source=source)
    return ResultRow(method, protocol, metrics, metrics, **{**fields, **more})


@pytest.fixture
def folder(tmp_path):
    def simclr(*args, **more):
        return row("SimCLR", *args, checkpoint="runs/nat", **more)

    rows = [
        simclr("budget", 0.5, mode="frozen", budget=1000),
        *(simclr("budget", acc, mode="frozen", budget=100, seed=i) for i, acc in enumerate((0.6, 0.8))),
        simclr("budget", 0.4, mode="unfrozen", budget=100),
        simclr("budget", 0.9, mode="frozen"),
        simclr("linear", 0.9),
        simclr("linear", 0.3, labels_per_class=10),
        simclr("finetune", 0.2, labels_per_class=10),
        simclr("knn", 0.1),
        simclr("transfer", 0.1, mode="frozen", target="pathmnist"),
        row("supervised", "supervised", 0.25, budget=100),
    ]
    write_results(tmp_path / "runs" / "results.json", rows)
    return tmp_path


def write_references(folder, *entries, **content):
    path = folder / "paper.yml"
    path.write_text(yaml.safe_dump({"source": "A paper, Table 1.", "entries": entries, **content}))
    return path


def entry(**changes):
    figures = {"acc": {100: 0.771, "10/class": 0.5}, "auc": {100: 0.957, "all": 0.99}}
    return {"data": "bloodmnist", "method": "SimCLR", "mode": "frozen", "figures": figures, **changes}


def table(folder, *entries):
    path = write_references(folder, *entries) if entries else None
    (grid,), _ = report([folder / "runs"], out_dir=folder / "out", layout="budgets", references=path)
    return grid


def test_methods_down_and_numbers_of_labels_across(folder):
    grid = table(folder)
    labels = ("100", "1000", "10/class", "all")
    assert grid.header == ["data", "method", "backbone"] + [
        f"{name}: {metric}" for name in labels for metric in ("acc. %", "AUC")
    ]
    assert grid.rows == [
        ["bloodmnist", "SimCLR", "frozen", "70.00 ± 14.14", "0.3500 ± 0.0707", "50.00", "0.2500",
         "30.00", "0.1500", "90.00", "0.4500"],
        ["bloodmnist", "SimCLR", "unfrozen", "40.00", "0.2000", "-", "-", "20.00", "0.1000", "-", "-"],
        ["bloodmnist", "supervised", "unfrozen", "25.00", "0.1250", *["-"] * 6],
    ]  # fmt: skip
    assert grid.notes == []
    assert (folder / "out" / "results.md").read_text().startswith("**last epoch")


def test_rows_of_one_method_stand_together(folder):
    other = [
        row("SimCLR", "budget", 0.1, mode=mode, budget=100, checkpoint="runs/nov")
        for mode in ("frozen", "unfrozen")
    ]
    write_results(folder / "runs" / "other" / "results.json", other)
    assert [cells[1:3] for cells in table(folder).rows] == [
        ["SimCLR (nov)", "frozen"], ["SimCLR (nov)", "unfrozen"],
        ["SimCLR (nat)", "frozen"], ["SimCLR (nat)", "unfrozen"], ["supervised", "unfrozen"],
    ]  # fmt: skip


def test_every_figure_is_shown_in_the_least_width(folder):
    grid = table(folder, entry())
    console = Console(width=grid.least_width, file=io.StringIO())
    console.print(grid.rich())
    shown = console.file.getvalue()
    words = {word for cells in grid.rows for cell in cells[3:] for word in cell.split()}
    assert words >= {"70.00", "14.14", "(77.1)", "(0.957)"}
    assert all(word in shown for word in words) and "…" not in shown
    assert max(map(len, shown.splitlines())) == grid.least_width


def test_published_figures_stand_in_brackets(folder):
    grid = table(folder, entry(), entry(method="supervised", mode="unfrozen", figures={"acc": {100: 0.618}}))
    frozen, unfrozen, supervised = grid.rows
    assert frozen[3:] == [
        "70.00 ± 14.14 (77.1)", "0.3500 ± 0.0707 (0.957)", "50.00", "0.2500",
        "30.00 (50.0)", "0.1500", "90.00", "0.4500 (0.990)",
    ]  # fmt: skip
    assert "(" not in "".join(unfrozen)
    assert supervised[3:5] == ["25.00 (61.8)", "0.1250"]
    assert grid.notes == ["In brackets: A paper, Table 1."]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (dict(config="simclr-nat_*"), True),
        (dict(config="simclr-nov_*"), False),
        (dict(checkpoint="*runs/nat/*"), True),
        (dict(checkpoint="*path*"), False),
        (dict(data="pathmnist"), False),
    ],
)
def test_a_figure_is_of_one_config_and_checkpoint(changes, found, folder):
    assert ("(77.1)" in table(folder, entry(**changes)).rows[0][3]) is found


def test_the_first_that_fits_counts(folder):
    special = entry(checkpoint="*nat*", figures={"acc": {100: 0.1}})
    assert table(folder, special, entry()).rows[0][3:5] == ["70.00 ± 14.14 (10.0)", "0.3500 ± 0.0707"]


def test_what_was_measured_unlike_has_rows_of_its_own(folder):
    other = row("SimCLR", "budget", 0.1, mode="frozen", budget=100, checkpoint="runs/nat", settings={"k": 1})
    write_results(folder / "runs" / "unlike" / "results.json", [other])
    grid = table(folder)
    assert [cells[1:4] for cells in grid.rows if cells[3] == "10.00"] == [["SimCLR [B]", "frozen", "10.00"]]
    assert len(grid.notes) == 1 and "100 labels" in grid.notes[0]


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([entry(figures={"map": {100: 0.1}})], "metric 'map' is unknown"),
        ([entry(figures={"acc": {100: "much"}})], "could not convert"),
        ([entry(colour="red")], "unexpected keyword argument 'colour'"),
        ([{"data": "a"}], "KeyError"),
    ],
)
def test_bad_references_are_one_sentence(entries, words, folder):
    with pytest.raises(UserError, match=words):
        table(folder, *entries)


def test_options_are_checked(folder):
    with pytest.raises(UserError, match="layout='wide': allowed are long, budgets"):
        report([folder], layout="wide")
    with pytest.raises(UserError, match="is for --layout budgets"):
        report([folder], references=write_references(folder, entry()))
    with pytest.raises(UserError, match=r"none\.yml' does not exist"):
        report([folder], layout="budgets", references=folder / "none.yml")
