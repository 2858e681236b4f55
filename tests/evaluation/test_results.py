import io
import json
import math
import re
import statistics
from dataclasses import replace

import pytest
from rich.console import Console

from ssl_ext.errors import UserError
from ssl_ext.evaluation import (
    Condition,
    ResultRow,
    aggregate,
    file_hash,
    measure_cost,
    read_results,
    results_table,
    write_results,
)


def row(method, protocol, acc, labels=None, draw=None, auc=0.75, **more):
    return ResultRow(
        method, protocol, {"acc": acc, "auc": auc}, {"acc": acc + 0.01, "auc": auc}, {"k": 5},
        {"train": 3}, 0, labels, draw, **more,
    )  # fmt: skip


def printed(table, width=160):
    out = io.StringIO()
    Console(file=out, width=width).print(table)
    return out.getvalue()


ROWS = [
    row("checkpoint", "knn", 0.9),
    row("checkpoint", "linear", 0.95, auc=float("nan")),
    *(row("checkpoint", "linear", acc, 10, i) for i, acc in enumerate((0.5, 0.6, 0.8))),
    *(row("supervised", "supervised", acc, 10, i) for i, acc in enumerate((0.2, 0.4))),
]


def test_mean_and_std_over_draws():
    cells = aggregate(ROWS)["checkpoint"]
    mean, std, count, _ = cells[Condition("linear", 10)]
    assert mean == pytest.approx(1.9 / 3)
    assert std == pytest.approx(statistics.stdev([0.5, 0.6, 0.8]))
    assert count == 3
    assert cells[Condition("knn")] == (0.9, 0.0, 1, None)
    assert aggregate(ROWS, which="best")["checkpoint"][Condition("knn")].mean == pytest.approx(0.91)


NAN = float("nan")


@pytest.mark.parametrize(
    "areas", [(NAN, float("-nan")), (0.5, NAN), (0.25, NAN, 0.75), (NAN,), (math.inf, 0.5)]
)
def test_an_undefined_metric_of_repeats_is_a_dash(areas):
    rows = [row("a", "linear", 0.5, 10, draw, auc=area) for draw, area in enumerate(areas)]
    stat = aggregate(rows, metric="auc")["a"][Condition("linear", 10)]
    assert math.isnan(stat.mean) and stat.n == len(areas) and stat.text("auc") == "-"
    assert aggregate(rows)["a"][Condition("linear", 10)].mean == 0.5
    text = printed(results_table(rows))
    assert "/ -" in text and "nan" not in text


def test_one_result_with_an_undefined_metric_is_one_repeat():
    rows = [
        replace(row("a", "knn", 0.5, auc=float("nan")), seed=seed, settings={"seed_matters": False})
        for seed in (0, 1)
    ]
    assert aggregate(rows)["a"] == {Condition("knn"): (0.5, 0.0, 1, None)}
    assert set(aggregate(rows)) == {"a"}


def test_table_has_a_row_for_each_method_and_a_column_for_each_protocol():
    table = results_table(ROWS)
    text = printed(table)
    assert [column.header for column in table.columns] == [
        "method", "kNN", "linear, all labels", "linear, 10 labels/class",
    ]  # fmt: skip
    lines = {line.split("│")[1].strip(): line for line in text.splitlines() if "│" in line}
    assert "90.00 (n=1) / 0.7500" in lines["checkpoint"]
    assert "95.00 (n=1) / -" in lines["checkpoint"]
    assert "63.33 ± 15.28 (n=3) / 0.7500" in lines["checkpoint"]
    assert [cell.strip() for cell in lines["supervised"].split("│")[2:4]] == ["-", "-"]
    assert "30.00 ± 14.14" in lines["supervised"]


def test_labels_modes_and_targets_are_conditions_of_their_own():
    rows = [
        row("a", "budget", 0.1, budget=100, mode="frozen"),
        row("a", "budget", 0.2, budget=100, mode="unfrozen"),
        row("a", "budget", 0.3, mode="frozen"),
        row("a", "semi", 0.4, fraction=0.01, mode="unfrozen"),
        row("a", "transfer", 0.5, mode="frozen", target="PathMNIST"),
        row("a", "transfer", 0.6, mode="frozen", target="BloodMNIST"),
    ]
    cells = aggregate(rows)["a"]
    assert [stat.mean for stat in cells.values()] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert [condition.words for condition in cells] == [
        "budget, 100 labels, frozen",
        "budget, 100 labels, unfrozen",
        "budget, all labels, frozen",
        "semi, 1 % of labels",
        "transfer to PathMNIST, frozen",
        "transfer to BloodMNIST, frozen",
    ]


def test_kappa_is_in_the_table_of_ordinal_classes():
    assert "kappa" not in printed(results_table([row("a", "knn", 0.32, auc=0.6)]))
    ordinal = row("a", "knn", 0.32, auc=0.6)
    ordinal.last["kappa"] = 0.37
    text = " ".join(printed(results_table([ordinal])).split())
    assert "accuracy % / kappa / AUC, last epoch" in text and "/ 0.3700 / 0.6000" in text


def test_many_protocols_make_a_long_table_and_clusters_one_of_their_own():
    rows = [
        *(
            replace(row("b", "linear", acc, cost={"wall_s": 2.0}, auc=auc), seed=seed)
            for seed, (acc, auc) in enumerate(((0.5, 0.6), (0.7, 0.8)))
        ),
        *(row("b", "semi", 0.9, fraction=share, mode="unfrozen") for share in (0.01, 0.1, 1.0)),
        row("a", "knn", 0.25),
        row("a", "linear", 0.125, cost={"wall_s": 0.5}),
    ]
    rows[0].last["confusion"] = [[1]]
    rows[0].last["f1"] = 0.5
    rows.append(ResultRow("b", "cluster", {"nmi": 0.5, "silhouette_pca2": -0.1}, {}, {}, {}, 0))
    lines = printed(results_table(rows)).splitlines()
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if "│" in line]
    assert cells[:2] == [
        ["linear, all labels", "b", "60.00 ± 14.14", "0.7000 ± 0.1414", "2", "2.0"],
        ["", "a", "12.50", "0.7500", "1", "0.5"],
    ]
    assert ["semi, 100 % of labels", "b", "90.00", "0.7500", "1", "-"] in cells
    assert cells[-1] == ["cluster", "b", "-0.100", "0.500", "1", "-"]
    heads = [[word.strip() for word in line.split("┃")[1:-1]] for line in lines if "┃" in line]
    assert "± is the deviation over 2 probe seeds: linear, all labels." in " ".join(lines[-30:])
    assert heads[0] == ["protocol", "method", "acc. %", "AUC", "n", "s"]
    assert heads[1] == ["protocol", "method", "silh. PCA-2", "NMI", "n", "s"]


def test_json_is_whole_and_valid(tmp_path):
    path = tmp_path / "out" / "results.json"
    write_results(path, ROWS)
    read = json.loads(path.read_text())
    assert len(read) == len(ROWS)
    assert read[1]["last"] == {"acc": 0.95, "auc": None}
    assert read[2]["labels_per_class"] == 10
    assert list(path.parent.iterdir()) == [path]


def test_written_rows_are_read_back(tmp_path):
    rows = [*ROWS, row("a", "budget", 0.5, budget=7, mode="frozen", target="b", source={"x": [1, None]})]
    rows[0].last["confusion"] = [[2, 1], [0, 3]]
    write_results(tmp_path / "results.json", rows)
    read = read_results(tmp_path / "results.json")
    assert math.isnan(read[1].last.pop("auc"))
    assert math.isnan(read[1].best.pop("auc"))
    kept = [*rows]
    kept[1] = row("checkpoint", "linear", 0.95)
    kept[1].last.pop("auc")
    kept[1].best.pop("auc")
    assert read == kept


def test_older_files_lack_later_fields_and_newer_ones_have_more(tmp_path):
    old = dict(method="a", protocol="knn", last={"acc": 1}, best={}, settings={}, sizes={}, seed=3)
    path = tmp_path / "results.json"
    path.write_text(json.dumps([old, {**old, "colour": "red", "draw": 2}]))
    first, second = read_results(path)
    assert (first.budget, first.mode, first.seed) == (None, None, 3)
    assert second == replace(first, draw=2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "does not exist"),
        ("[{", "not a results.json"),
        ("{}", "a list is needed, not {}"),
        ('[{"method": "a", "protocol": "knn"}]', "[0] lacks last, best, settings, sizes, seed"),
        ("[3]", "[0]: an object is needed, not 3"),
        ('[{"method": "a", "protocol": "knn", "last": 3}]', "[0].last: an object is needed, not 3"),
    ],
)  # fmt: skip
def test_a_file_that_holds_something_else_is_named(text, words, tmp_path):
    path = tmp_path / "results.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=re.escape(words)) as raised:
        read_results(path)
    assert str(path) in str(raised.value)


def test_cost_and_hash(tmp_path):
    with measure_cost() as cost:
        sum(range(100000))
    assert 0 < cost["wall_s"] < 5
    assert 10 < cost["peak_rss_mib"] < 100_000
    file = tmp_path / "weights"
    file.write_bytes(b"abc")
    assert file_hash(file) == "ba7816bf8f01cfea"


def test_rows_are_averaged_over_independent_repeats_alone():
    """Not over networks, data or a seed and draw measured twice; equal rows of one seed count once."""

    def measured(acc, seed=0, **source):
        settings = {"k": 5, "seed_matters": source.pop("seed_matters", True)}
        source = {"network": {"backbone": {"depth": source.pop("depth", 18)}}, **source}
        return replace(row("a", "linear", acc), seed=seed, settings=settings, source=source)

    groups = [
        ([measured(0.7), measured(0.6, depth=50)], [(0.7, 0.0, 1), (0.6, 0.0, 1)]),
        ([measured(0.7), measured(0.7)], [(0.7, 0.0, 1)]),
        ([measured(0.7), measured(0.5)], [(0.7, 0.0, 1), (0.5, 0.0, 1)]),
        ([measured(0.7, s, seed_matters=False) for s in (0, 1)], [(0.7, 0.0, 1)]),
        ([measured(0.5, s, data={"test": {"fingerprint": "ab"[s]}}) for s in (0, 1)], [(0.5, 0.0, 1)] * 2),
        ([measured(0.5, s, checkpoint={"sha256": "ab"[s]}) for s in (0, 1)], [(0.5, 0.0, 1)] * 2),
    ]
    # Groups that are held out, by the seed, differ in size.
    for split, counts in (("held out of train by group", [2]), ("held out of train", [1, 1])):
        rows = [replace(measured(0.5, s), sizes={"train": 90 - s, "val": 10 + s, "test": 7}) for s in (0, 1)]
        rows = [replace(one, settings={**one.settings, "val_split": split}) for one in rows]
        groups.append((rows, [(0.5, 0.0, n) for n in counts]))
    for rows, expected in groups:
        assert [stat[:3] for cells in aggregate(rows).values() for stat in cells.values()] == expected
    mean, deviation, count, _ = aggregate([measured(0.5), measured(0.7, 1)])["a"][Condition("linear")]
    assert (mean, count) == (pytest.approx(0.6), 2)
    assert deviation == pytest.approx(0.1 * math.sqrt(2))
    assert list(aggregate(groups[0][0])) == ["a", "a (2)"]
