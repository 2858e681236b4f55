"""Logs of resumed and killed runs, and their curves."""

import json

import numpy as np
import pytest
from mmengine.visualization import LocalVisBackend

from ssl_ext.visualization import loss_curves, read_scalars
from ssl_ext.visualization.curves import moving_average
from ssl_ext.visualization.scalars import figure_of_epoch


def write(run_dir, stamp, records, name="scalars.json", tail=""):
    log = run_dir / stamp / "vis_data" / name
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("".join(json.dumps(record) + "\n" for record in records) + tail)


def steps(records, key="loss"):
    return [(record["step"], record[key]) for record in records if key in record]


def test_reads_what_mmengine_writes(tmp_path):
    backend = LocalVisBackend(save_dir=str(tmp_path / "20250101_000000" / "vis_data"))
    for step in (10, 20):
        backend.add_scalars(
            {"loss": 1.0 / step, "loss_virtual": 0.5, "epoch": 1}, step=step, file_path="20250101_000000.json"
        )
    backend.add_scalars({"knn/accuracy": 80.0}, step=20)
    expected = [
        {"loss": 0.1, "loss_virtual": 0.5, "epoch": 1, "step": 10},
        {"loss": 0.05, "loss_virtual": 0.5, "epoch": 1, "step": 20},
        {"knn/accuracy": 80.0, "step": 20},
    ]
    assert read_scalars(tmp_path) == expected
    assert read_scalars(tmp_path / "20250101_000000") == expected
    (tmp_path / "20250101_000000" / "vis_data" / "scalars.json").unlink()
    assert read_scalars(tmp_path) == expected[:2]  # the logger's own file


def test_later_start_replaces_records_from_its_first_step(tmp_path):
    first = [{"loss": 1.0, "step": s} for s in (10, 20, 30, 40)]
    first += [{"accuracy": 0.5, "step": e} for e in (1, 2)]
    first += [{"rank_me": 9.0, "step": s} for s in (20, 40)]
    write(tmp_path, "20250101_000000", first)
    # Resumed after step 20 with another log interval; stopped before the first start's last step.
    write(tmp_path, "20250102_000000", [{"loss": 2.0, "memory": 1, "step": s} for s in (25, 35)])
    write(tmp_path, "20250103_000000", [{"accuracy": 0.7, "step": 2}])
    records = read_scalars(tmp_path)
    assert steps(records) == [(10, 1.0), (20, 1.0), (25, 2.0), (35, 2.0)]
    assert steps(records, "accuracy") == [(1, 0.5), (2, 0.7)]  # the steps of these records are epochs
    assert steps(records, "rank_me") == [(20, 9.0), (40, 9.0)]
    assert [record["step"] for record in records] == sorted(record["step"] for record in records)


def test_a_fresh_start_in_the_same_folder_replaces_everything(tmp_path):
    write(tmp_path, "20250101_000000", [{"loss": 1.0, "step": s} for s in (10, 20, 30)])
    write(tmp_path, "20250102_000000", [{"loss": 2.0, "step": 10}])
    assert steps(read_scalars(tmp_path)) == [(10, 2.0)]


def test_a_figure_of_an_epoch_is_the_mean_of_its_records_and_a_time_that_of_all_its_steps(tmp_path):
    """Epochs of 25 steps, of which the last line is at step 20."""
    records = [dict(loss=s, time=s / 100, epoch=1 + s // 26, step=s) for s in (10, 20, 35, 45)]
    write(tmp_path, "20250101_000000", [*records, dict(knn_top1=0.4, epoch=2, step=50)])
    assert figure_of_epoch(tmp_path, "loss", 1) == 15
    assert figure_of_epoch(tmp_path, "loss", 2) == 40
    assert figure_of_epoch(tmp_path, "knn_top1", 2) == 0.4
    assert figure_of_epoch(tmp_path, "epoch_seconds", 2) == pytest.approx(25 * 0.4)
    with pytest.raises(ValueError, match="has no knn_top1 of epoch 1"):
        figure_of_epoch(tmp_path, "knn_top1", 1)
    write(tmp_path, "20250102_000000", [dict(loss=1.0, epoch_seconds=7.0, epoch=3, step=75)])
    assert figure_of_epoch(tmp_path, "epoch_seconds", 3) == 7


def test_cut_off_last_line_is_left_out_and_other_damage_is_named(tmp_path):
    records = [{"loss": 1.0, "step": 10}]
    write(tmp_path, "20250101_000000", records, tail='{"loss": 0.9, "st')
    write(tmp_path, "20250102_000000", [], tail='{"loss": 0.8, "step": 20}\n\n')
    assert steps(read_scalars(tmp_path)) == [(10, 1.0), (20, 0.8)]
    write(tmp_path, "20250103_000000", records, tail='{"loss": 0.9\n{"loss": 0.8, "step": 30}\n')
    with pytest.raises(ValueError, match=r"20250103_000000.*line 2"):
        read_scalars(tmp_path)


def test_no_log(tmp_path):
    with pytest.raises(FileNotFoundError, match="no log"):
        read_scalars(tmp_path)


RUN = [
    {"step": s, "loss": 8.0 / s, "loss_virtual": 2.0 / s, "loss_consistency": 6.0 / s, "lr": 0.1}
    for s in (1, 2, 4)
]


def test_one_panel_per_term_and_one_line_per_run():
    other = [{"step": 3, "loss": 1.0}, {"step": 3, "accuracy": 0.5}]
    figure = loss_curves({"a": RUN, "b": other})
    assert [panel.get_ylabel() for panel in figure.axes] == [
        "total loss",
        "virtual loss",
        "consistency loss",
    ]
    first, second = figure.axes[0].lines
    np.testing.assert_array_equal(first.get_xydata(), [(1, 8), (2, 4), (4, 2)])
    np.testing.assert_array_equal(second.get_xydata(), [(3, 1)])
    assert first.get_color() != second.get_color()
    np.testing.assert_array_equal(figure.axes[2].lines[0].get_ydata(), [6, 3, 1.5])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_chosen_keys_and_no_legend_for_a_single_run():
    figure = loss_curves({"a": RUN}, keys=["lr", "loss"])
    assert [panel.get_ylabel() for panel in figure.axes] == ["learning rate", "total loss"]
    assert not figure.legends


def test_many_terms_fill_rows():
    records = [{"step": 1, **{f"loss_{i}": 1.0 for i in range(5)}}]
    axes = loss_curves({"a": records}).axes
    assert len(axes) == 5
    spans = [panel.get_subplotspec().colspan for panel in axes]
    # Three panels above two that are centred below them, each two of six columns wide.
    assert [(span.start, span.stop) for span in spans] == [(0, 2), (2, 4), (4, 6), (1, 3), (3, 5)]


def test_smoothing_keeps_the_raw_line_behind():
    values = 8.0 / np.arange(1, 32)
    records = [{"step": step, "loss": value} for step, value in enumerate(values)]
    raw, smooth = loss_curves({"a": records}, keys=["loss"], smoothing=0.5).axes[0].lines
    np.testing.assert_array_equal(raw.get_ydata(), values)
    weights = np.tril(np.broadcast_to(2.0 ** np.arange(31), (31, 31)))
    np.testing.assert_allclose(smooth.get_ydata(), (weights * values).sum(1) / weights.sum(1))
    (line,) = loss_curves({"a": records[:30]}, keys=["loss"], smoothing=0.5).axes[0].lines
    np.testing.assert_array_equal(line.get_ydata(), values[:30])  # few points have markers


MEASURED = [{"step": s, "accuracy": a, "epoch": s} for s, a in ((1, 0.2), (2, 0.9), (4, 0.4))]


def marked(panel):
    """Points of all lines that have markers."""
    return [line.get_xydata().tolist() for line in panel.lines if line.get_marker() not in ("None", None)]


def test_markers_are_at_measured_values_alone():
    (panel,) = loss_curves({"a": RUN}, keys=["loss"], smoothing=0.9).axes
    assert marked(panel) == [[[1, 8], [2, 4], [4, 2]]]
    (panel,) = loss_curves({"a": RUN}, keys=["loss"], smoothing=0).axes
    assert marked(panel) == [[[1, 8], [2, 4], [4, 2]]]
    many = [{"step": s, "loss": 1.0 / s} for s in range(1, 41)]
    assert marked(loss_curves({"a": many}, smoothing=0.9).axes[0]) == []


@pytest.mark.parametrize("x", ["iteration", "epoch"])
def test_what_is_not_logged_with_the_training_loss_is_never_smoothed(x):
    validation = [{"step": 2, "val_loss": 3.0, "epoch": 2}, {"step": 4, "val_loss": 9.0, "epoch": 4}]
    runs = {"a": [*RUN, *MEASURED, *validation]}
    (panel,) = loss_curves(runs, keys=["accuracy"], smoothing=0.9, x=x).axes
    (line,) = panel.lines
    np.testing.assert_array_equal(line.get_ydata(), [20, 90, 40])
    (panel,) = loss_curves(runs, keys=["val_loss"], smoothing=0.9, x=x).axes
    assert [line.get_ydata().tolist() for line in panel.lines] == [[3, 9]]
    (panel,) = loss_curves(runs, keys=["loss"], smoothing=0.9).axes
    assert panel.lines[-1].get_xydata().tolist() == [[2, 3], [4, 9]]
    assert marked(panel)[-1] == [[2, 3], [4, 9]]


@pytest.mark.parametrize(
    ("values", "scale"), [((1.0, 1.0), 100), ((0.98, 0.999), 100), ((99.0, 99.9), 1), ((0.0, 1.0), 100)]
)
@pytest.mark.parametrize("key", ["accuracy", "knn_top1", "probe_top1", "val_accuracy_mix"])
def test_an_accuracy_is_in_percent_and_its_axis_ends_at_100(values, scale, key):
    records = [{"step": step, key: value} for step, value in enumerate(values)]
    (panel,) = loss_curves({"a": records}, keys=[key]).axes
    np.testing.assert_allclose(panel.lines[0].get_ydata(), scale * np.array(values))
    low, high = panel.get_ylim()
    assert scale * max(values) <= high <= 100 and 0 <= low <= scale * min(values)
    assert panel.get_ylabel().endswith(" (%)")


def test_other_axes_keep_their_margins():
    low, high = loss_curves({"a": RUN}, keys=["loss"]).axes[0].get_ylim()
    assert low < 2 and high > 8


def test_validation_is_dashed_in_the_panel_of_its_training_figure():
    records = [{"step": s, "top1": 0.1 * s, "epoch": 1} for s in (1, 2, 3)] + [{"step": 2, "val_top1": 0.3}]
    figure = loss_curves({"a": records, "b": RUN + records[:1]}, keys=["top1"])
    training, validation, other = figure.axes[0].lines
    np.testing.assert_array_equal(validation.get_xydata(), [(2, 30)])
    assert validation.get_color() == training.get_color() != other.get_color()
    assert not training.is_dashed() and validation.is_dashed() and validation.get_marker() == "o"
    # A single point has no dashes to be told apart by.
    shown = figure.legends[0].get_lines()[-1]
    for line in (validation, shown):
        assert (line.get_marker(), line.get_markerfacecolor()) == ("o", "white")
    assert training.get_markerfacecolor() == training.get_color()
    entries = [text.get_text() for text in figure.legends[0].get_texts()]
    assert entries == ["a", "b", "training", "validation"]
    apart = loss_curves({"a": records}, keys=["top1", "val_top1"])
    assert [len(panel.lines) for panel in apart.axes] == [1, 1] and not apart.legends
    assert [panel.get_ylabel() for panel in apart.axes] == ["top-1 (%)", "validation top-1 (%)"]


def test_epochs_are_means_of_their_records():
    records = [{"step": s, "loss": float(s), "epoch": e} for s, e in ((1, 1), (3, 1), (4, 2))]
    (panel,) = loss_curves({"a": [*records, {"step": 9, "loss": 9.0}]}, x="epoch").axes
    np.testing.assert_array_equal(panel.lines[0].get_xydata(), [(1, 2), (2, 4)])
    assert panel.get_xlabel() == "epoch"


def test_long_names_of_many_runs_stay_inside_the_figure():
    figure = loss_curves({f"a-very-long-name-of-a-run-{i}": RUN for i in range(9)}, keys=["loss"])
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    assert legend.x0 >= 0 and legend.x1 <= figure.bbox.width
    assert len({(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines}) == 9


def test_moving_average_skips_values_that_are_not_finite():
    smooth = moving_average(np.array([np.nan, 2.0, np.inf, 2.0]), 0.9)
    np.testing.assert_allclose(smooth, [np.nan, 2, 2, 2])


@pytest.mark.parametrize(
    ("runs", "keywords", "message"),
    [
        ({"a": RUN}, {"keys": ["loss_other"]}, r"\['loss_other'\]; logged are"),
        ({"a": [{"step": 1, "lr": 0.1}]}, {}, "a loss"),
        ({}, {}, "a loss"),
        ({"a": RUN}, {"x": "step"}, "x is 'step'; allowed are iteration, epoch"),
        ({"a": RUN}, {"smoothing": 1.0}, r"smoothing must lie in \[0, 1\), got 1.0"),
    ],
)
def test_bad_input(runs, keywords, message):
    with pytest.raises(ValueError, match=message):
        loss_curves(runs, **keywords)


def test_a_term_that_is_the_loss_has_no_panel_of_its_own():
    records = [
        {"step": step, "loss": 1 / step, "loss_simclr": 1 / step, "loss_other": 2.0} for step in (1, 2)
    ]
    labels = [panel.get_ylabel() for panel in loss_curves({"run": records}).axes]
    assert len(labels) == 2 and "simclr" not in " ".join(labels).lower()
