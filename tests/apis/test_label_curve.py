"""Scores over numbers of labels: resumed measurements, files, and one sentence for bad input."""

import csv
import json

import pytest

from ssl_ext.apis import label_curve
from ssl_ext.apis.evaluate.files import earlier_row
from ssl_ext.apis.evaluate.plan import Labels, Measurement
from ssl_ext.apis.evaluate.protocols import Protocols
from ssl_ext.apis.label_curve import Curve, Point, curves_of
from ssl_ext.cli.label_curve import main
from ssl_ext.errors import UserError
from ssl_ext.evaluation import ResultRow
from ssl_ext.evaluation.power_law import fit_power_law


def test_a_curve_is_written_and_not_measured_again(tiny_config, tmp_path, monkeypatch, capsys):
    tiny_config.evaluation.linear = dict(solver="sgd", epochs=2, lr=0.1)
    tiny_config.dump(tmp_path / "tiny.py")
    measured, measure = [], Protocols.measure
    monkeypatch.setattr(Protocols, "measure", lambda self, one: measured.append(one) or measure(self, one))
    words = [str(tmp_path / "tiny.py"), "--budgets", "20", "40", "80", "--draws", "2", "--no-supervised"]
    words += ["--device", "cpu", "--out", str(tmp_path / "out")]
    main(words)
    assert len(measured) == 6
    first = capsys.readouterr().out
    assert "untrained, frozen: 160 labels would bring acc. " in first and "extrapolates" in first
    content = json.loads((tmp_path / "out" / "label_curve.json").read_text())
    main([*words, "--metric", "auc"])
    main([*words, "--budgets", "20", "40", "80", "120"])
    assert len(measured) == 8  # the new number of labels alone
    (curve,) = content["curves"]
    assert [point["n"] for point in curve["points"]] == [20, 40, 80]
    low, high = curve["extrapolated"]["ends"]
    assert low <= curve["extrapolated"]["mean"] <= high
    with open(tmp_path / "out" / "label_curve.csv") as file:
        lines = list(csv.DictReader(file))
    assert [line["kind"] for line in lines] == ["measured"] * 4 + ["extrapolated"]
    assert (tmp_path / "out" / "label_curve.png").exists()


def test_points_are_means_over_draws_with_students_interval():
    scores = {10: [0.5, 0.6], 20: [0.62, 0.66], 40: [0.7, 0.72]}
    rows = [
        ResultRow(
            "A",
            "budget",
            {"acc": score},
            {},
            {"labels": {}},
            {"train": n - draw},
            0,
            mode="frozen",
            draw=draw,
            budget=n,
            balance="undersampling",
        )  # fmt: skip
        for n, own in scores.items()
        for draw, score in enumerate(own)
    ]
    (curve,) = curves_of(rows, "acc", "last", None)
    point = curve.points[0]
    # t of one degree of freedom is 12.7062, and the standard error of 0.5 and 0.6 is 0.05.
    assert point.mean == pytest.approx(0.55) and point.ends[1] - point.mean == pytest.approx(
        12.7062 * 0.05, rel=1e-4
    )
    assert curve.next_n == 80 and curve.expected.mean > 0.7


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(budgets=[10, 20]), "--budgets 10 20: a curve needs at least 3 numbers of labels"),
        (dict(budgets=[1, 2, 3], metric="ece"), "--metric 'ece': allowed are acc"),
        (dict(budgets=[1, 2, "all"], by="group"), "no number of groups"),
        (dict(budgets=[1, 2, 3], next_budget=0), "--next 0: a number of labels above 0"),
    ],
)
def test_bad_input_is_one_sentence(settings, words):
    with pytest.raises(UserError, match=words):
        label_curve("no.py", None, **settings)


def test_rows_of_other_weights_are_not_taken():
    raw, averaged = (
        {"checkpoint": {"path": "a", "sha256": "1", **more}} for more in ({}, {"weights": "averaged"})
    )
    moved = {"checkpoint": {"path": "b", "sha256": "1"}}
    one = Measurement("A", "budget", "frozen", Labels(0, budget=10, draw=0))
    row = ResultRow("A", "budget", {}, {}, {}, {}, 0, mode="frozen", draw=0, budget=10, source=raw)
    assert earlier_row([row], one, moved, row.recipe) is row
    assert earlier_row([row], one, averaged, row.recipe) is None


def test_falling_scores_are_said_not_to_fit():
    points = [Point(n, mean, (mean - 0.01, mean + 0.01), 2) for n, mean in ((10, 0.9), (20, 0.7), (40, 0.5))]
    law = fit_power_law({point.n: [1 - point.mean] for point in points})
    words = Curve("A", points, law, 80).sentence("acc", "labels")
    assert (
        "10 measured ones already gave more" in words
        and "misses the interval of the draws at 10, 40" in words
    )
