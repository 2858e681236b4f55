"""Figures show their data and are saved in both formats."""

import matplotlib
import numpy as np
import pytest
import torch

from ssl_ext.errors import UserError
from ssl_ext.losses import virtual_targets
from ssl_ext.visualization import (
    save_figure,
    scores_bar,
    sweep_lines,
    trimix_matrices,
    view_grid,
)


def drawn(axes):
    return np.asarray(axes.get_images()[0].get_array())


def test_view_grid_shows_each_image_and_view():
    originals = torch.rand(3, 3, 6, 5)
    views = [torch.rand(3, 3, 4, 4), torch.rand(3, 1, 8, 8).bfloat16()]
    figure = view_grid(originals, views)
    assert len(figure.axes) == 3 * 3
    grid = np.array(figure.axes, dtype=object).reshape(3, 3)
    for row in range(3):
        np.testing.assert_array_equal(drawn(grid[row, 0]), originals[row].permute(1, 2, 0).numpy())
        np.testing.assert_array_equal(drawn(grid[row, 1]), views[0][row].permute(1, 2, 0).numpy())
        grey = views[1][row, 0].float().numpy()
        np.testing.assert_array_equal(drawn(grid[row, 2]), np.stack([grey] * 3, axis=-1))
    assert [cell.get_title() for cell in grid[0]] == ["image", "view 1", "view 2"]
    assert [cell.get_title() for cell in grid[1]] == [""] * 3
    titled = view_grid(originals, views, titles=["a", "b", "c"])
    assert [cell.get_title() for cell in titled.axes[:3]] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("originals", "views", "titles", "message"),
    [
        (torch.zeros(2, 3, 4), [], None, r"originals must be \(N, C, H, W\)"),
        (torch.zeros(2, 2, 4, 4), [], None, "C 1 or 3"),
        (torch.zeros(2, 3, 4, 4), [torch.full((2, 3, 4, 4), 1.5)], None, r"views\[0\] must lie in"),
        (torch.full((2, 3, 4, 4), float("nan")), [], None, "must lie in"),
        (torch.zeros(2, 3, 4, 4), [torch.zeros(3, 3, 4, 4)], None, r"\[2, 3\]"),
        (torch.zeros(0, 3, 4, 4), [], None, "number of images"),
        (torch.zeros(2, 3, 4, 4), [], ["a", "b"], "1 columns need as many titles, got 2"),
    ],
)
def test_view_grid_refuses(originals, views, titles, message):
    with pytest.raises(ValueError, match=message):
        view_grid(originals, views, titles=titles)


@pytest.mark.parametrize("batch", [2, 5, 32])
def test_trimix_matrices(batch):
    images, lam = torch.rand(batch, 3, 4, 4), 0.3
    mixed = lam * images + (1 - lam) * images.flip(0)
    similarity = torch.rand(batch, batch) * 1.2 - 0.6
    probabilities = similarity.softmax(1)
    targets = virtual_targets(batch, lam)
    figure = trimix_matrices(images, mixed, similarity, probabilities, targets, torch.tensor(lam))
    assert len(figure.axes) == 3 * 4  # matrix, batch, mixed images, colour bar
    panels = np.array(figure.axes, dtype=object).reshape(3, 4)
    for (matrix, above, beside, scale), expected in zip(
        panels, (targets, similarity, probabilities), strict=True
    ):
        # Mixed images are rows in the figure and columns in the matrices.
        np.testing.assert_array_equal(drawn(matrix), expected.T.numpy())
        np.testing.assert_array_equal(drawn(above), images.permute(2, 0, 3, 1).flatten(1, 2).numpy())
        np.testing.assert_array_equal(drawn(beside), mixed.permute(0, 2, 3, 1).flatten(0, 1).numpy())
        at, top, left = matrix.get_position(), above.get_position(), beside.get_position()
        np.testing.assert_allclose((top.x0, top.x1), (at.x0, at.x1))
        np.testing.assert_allclose((left.y0, left.y1), (at.y0, at.y1))
        assert scale.get_position().x1 < 1 and top.y1 < 1
        assert [frame.get_x() for frame in above.patches] == [0, batch - 1]
        assert [frame.get_x() for frame in beside.patches] == [0]
    titles = [above.get_title() for above in panels[:, 1]]
    assert titles == [
        f"{title}\nimages of the batch"
        for title in ("(A) target, λ = 0.30", "(B) cosine similarity", "(C) after softmax")
    ]
    assert all(beside.get_ylabel() == "mixed images" for beside in panels[:, 2])
    low, high = panels[1, 0].get_images()[0].get_clim()
    assert low == -high and high == pytest.approx(similarity.abs().max().item())
    largest = probabilities.max().item()
    assert panels[2, 0].get_images()[0].get_clim()[1] == pytest.approx(1 if batch == 2 else largest)


@pytest.mark.parametrize(("batch", "rows"), [(1, 1), (33, 33), (4, 3)])
def test_trimix_matrices_refuses(batch, rows):
    images, matrix = torch.zeros(batch, 1, 2, 2), torch.zeros(rows, rows)
    with pytest.raises(ValueError, match=r"2 to 32|need matrices of 4 x 4"):
        trimix_matrices(images, images, matrix, matrix, matrix, 0.5)


def test_scores_bar_by_method():
    rows = [("SimCLR", "kNN", 93.44, 0.4), ("pixels", "kNN", 50.0, None), ("SimCLR", "linear", 95.1, None)]
    (axes,) = scores_bar(rows, label="top-1 (%)").axes
    assert [bar.get_width() for bar in axes.patches] == [93.44, 95.1, 50.0]
    places = {text.get_text().strip(): text.get_position()[1] for text in axes.texts}
    headings = [places["SimCLR"], places["pixels"]]
    bars = [bar.get_y() + bar.get_height() / 2 for bar in axes.patches]
    assert headings[0] < bars[0] < bars[1] < headings[1] < bars[2]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["kNN", "linear", "kNN"]
    np.testing.assert_allclose(axes.get_yticks(), bars)
    assert {"93.44 ± 0.40", "95.10", "50.00"} < {text.get_text() for text in axes.texts}
    colours = [bar.get_facecolor() for bar in axes.patches]
    assert colours[0] == colours[2] != colours[1]  # of a measurement
    assert axes.get_xlabel() == "top-1 (%), ± standard deviation"
    assert axes.yaxis_inverted()  # the first row on top
    (error,) = axes.containers[1].lines[2]
    np.testing.assert_allclose(error.get_segments()[0], [[93.04, bars[0]], [93.84, bars[0]]])
    with pytest.raises(ValueError, match="at least one row"):
        scores_bar([])


@pytest.mark.parametrize(
    "rows",
    [
        [("a", 99.4, 1.0), ("b", 5.0, None)],
        [("a", 100.0, None)],
        [("a", 80.0, 0.0), ("b", float("nan"), float("nan")), ("c", float("nan"), None)],
    ],
)
def test_a_percentage_axis_of_bars_ends_at_100(rows):
    figure = scores_bar([("SimCLR", *row) for row in rows])
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert axes.get_xlim() == (0, 100)
    assert [text.get_text() for text in axes.texts[1:]] == [
        "-" if score != score else f"{score:.2f}" + ("" if spread is None else f" ± {spread:.2f}")
        for _, score, spread in rows
    ]
    extents = [text.get_window_extent() for text in axes.texts]
    assert all(extent.x1 <= figure.bbox.width for extent in extents)


def test_a_percentage_axis_of_lines_ends_at_100():
    points = [(64, 98.0, 3.0), (128, 100.0, None), (256, float("nan"), float("nan"))]
    low, high = sweep_lines({"": points}, x_label="batch_size").axes[0].get_ylim()
    assert high == 100 and 90 < low < 95
    (axes,) = sweep_lines({"": points}, x_label="batch_size", label="loss").axes
    assert axes.get_ylim()[1] > 100


def test_single_seeds_do_not_fill_the_axis_with_noise():
    """An axis of at least 5, about the scores, unless deviations show the noise."""
    points = [(64, 70.0, None), (128, 70.2, None)]
    low, high = sweep_lines({"": points}, x_label="batch_size").axes[0].get_ylim()
    assert high - low >= 5 and (low + high) / 2 == pytest.approx(70.1)
    low, high = sweep_lines({"": [(64, 70.0, 0.1), (128, 70.2, 0.1)]}, x_label="b").axes[0].get_ylim()
    assert high - low < 1


def test_save_figure_writes_both_formats_and_replaces_older_files(tmp_path):
    figure = scores_bar([("SimCLR", "a", 1.0, None)])
    png, pdf = save_figure(figure, tmp_path / "deep" / "tau0.1")
    assert (png.name, pdf.name) == ("tau0.1.png", "tau0.1.pdf")
    assert png.read_bytes().startswith(b"\x89PNG") and pdf.read_bytes().startswith(b"%PDF")
    before = png.read_bytes(), pdf.read_bytes()
    save_figure(scores_bar([("SimCLR", "a", 1.0, None)]), tmp_path / "deep" / "tau0.1")
    assert (png.read_bytes(), pdf.read_bytes()) == before  # equal figures give identical files
    save_figure(scores_bar([("SimCLR", "b", 2.0, None)]), tmp_path / "deep" / "tau0.1")
    assert png.read_bytes() != before[0] and pdf.read_bytes() != before[1]
    assert sorted(path.name for path in png.parent.iterdir()) == ["tau0.1.pdf", "tau0.1.png"]


def test_a_figure_that_fails_leaves_the_older_file(tmp_path, monkeypatch):
    png, _ = save_figure(scores_bar([("SimCLR", "a", 1.0, None)]), tmp_path / "scores")
    before = png.read_bytes()
    broken = scores_bar([("SimCLR", "b", 1.0, None)])

    def fail(file, **_):
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(broken, "savefig", fail)
    with pytest.raises(UserError, match="no space"):
        save_figure(broken, tmp_path / "scores")
    assert png.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2


def test_global_state_is_untouched(tmp_path):
    from matplotlib import _pylab_helpers

    before = dict(matplotlib.rcParams)
    save_figure(scores_bar([("SimCLR", "a", 1.0, None)]), tmp_path / "scores")
    assert dict(matplotlib.rcParams) == before
    assert not _pylab_helpers.Gcf.figs
