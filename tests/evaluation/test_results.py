import io
import json
import statistics

import pytest
from rich.console import Console

from ssl_ext.evaluation import ResultRow, aggregate, file_hash, measure_cost, results_table, write_results


def row(method, protocol, acc, labels=None, draw=None, auc=0.75):
    return ResultRow(
        method, protocol, {"acc": acc, "auc": auc}, {"acc": acc + 0.01, "auc": auc}, {"k": 5},
        {"train": 3}, 0, labels, draw,
    )  # fmt: skip


ROWS = [
    row("checkpoint", "knn", 0.9),
    row("checkpoint", "linear", 0.95, auc=float("nan")),
    *(row("checkpoint", "linear", acc, 10, i) for i, acc in enumerate((0.5, 0.6, 0.8))),
    *(row("supervised", "supervised", acc, 10, i) for i, acc in enumerate((0.2, 0.4))),
]


def test_mean_and_std_over_draws():
    cells = aggregate(ROWS)["checkpoint"]
    mean, std, count = cells["linear", 10]
    assert mean == pytest.approx(1.9 / 3)
    assert std == pytest.approx(statistics.stdev([0.5, 0.6, 0.8]))
    assert count == 3
    assert cells["knn", None] == (0.9, 0.0, 1)
    assert aggregate(ROWS, which="best")["checkpoint"]["knn", None][0] == pytest.approx(0.91)


def test_table_has_a_row_for_each_method_and_a_column_for_each_protocol():
    out = io.StringIO()
    table = results_table(ROWS)
    Console(file=out, width=160).print(table)
    text = out.getvalue()
    assert [column.header for column in table.columns] == [
        "method", "kNN", "linear, all labels", "linear, 10 labels/class",
    ]  # fmt: skip
    lines = {line.split("│")[1].strip(): line for line in text.splitlines() if "│" in line}
    assert "90.00 / 0.7500" in lines["checkpoint"]
    assert "95.00 / -" in lines["checkpoint"]
    assert "63.33 ± 15.28 / 0.7500" in lines["checkpoint"]
    assert [cell.strip() for cell in lines["supervised"].split("│")[2:4]] == ["-", "-"]
    assert "30.00 ± 14.14" in lines["supervised"]


def test_json_is_whole_and_valid(tmp_path):
    path = tmp_path / "out" / "results.json"
    write_results(path, ROWS)
    read = json.loads(path.read_text())
    assert len(read) == len(ROWS)
    assert read[1]["last"] == {"acc": 0.95, "auc": None}
    assert read[2]["labels_per_class"] == 10
    assert list(path.parent.iterdir()) == [path]


def test_cost_and_hash(tmp_path):
    with measure_cost() as cost:
        sum(range(100000))
    assert 0 < cost["wall_s"] < 5
    assert 10 < cost["peak_rss_mib"] < 100_000
    file = tmp_path / "weights"
    file.write_bytes(b"abc")
    assert file_hash(file) == "ba7816bf8f01cfea"
