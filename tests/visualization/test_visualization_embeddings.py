"""Points are drawn once, with a distinct style and legend entry per class; projections are seeded."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from ssl_ext.visualization import Cloud, embedding_scatter, tsne_projection, umap_projection


def cloud(points):
    return Cloud(points, "PC 1", "PC 2")


def looks(axes, names):
    groups = {group.get_label(): group for group in axes.collections}
    return {
        name: (tuple(groups[name].get_facecolor()[0]), groups[name].get_paths()[0].vertices.tobytes())
        for name in names
    }


def test_every_point_once_in_every_panel():
    clouds = {"one": cloud(torch.randn(60, 2)), "two": cloud(torch.randn(60, 2))}
    labels = torch.arange(60) % 12 - 1
    names = [f"class {i}" for i in range(11)]
    figure = embedding_scatter(clouds, labels, names)
    assert [axes.get_title() for axes in figure.axes] == ["one", "two"]
    for axes, (points, *labels_of_axes) in zip(figure.axes, clouds.values(), strict=True):
        assert [axes.get_xlabel(), axes.get_ylabel()] == labels_of_axes == ["PC 1", "PC 2"]
        groups = {group.get_label(): group for group in axes.collections}
        assert list(groups) == ["unlabelled", *names]
        for index, name in enumerate(["unlabelled", *names], start=-1):
            shown = np.asarray(groups[name].get_offsets())
            np.testing.assert_array_equal(shown, points[labels == index].numpy())
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["unlabelled", *names]


def test_ten_classes_differ_in_colour_and_marker_and_forty_in_one_of_them():
    names = [f"{i}" for i in range(40)]
    (axes,) = embedding_scatter({"": cloud(np.random.rand(40, 2))}, np.arange(40), names).axes
    seen = looks(axes, names)
    assert len(set(seen.values())) == 40
    first = [seen[name] for name in names[:10]]
    assert len({colour for colour, _ in first}) == len({marker for _, marker in first}) == 10


def test_a_class_keeps_its_look_when_others_are_left_out():
    points, labels, names = np.random.rand(30, 2), np.arange(30) % 3, ["a", "b", "c"]
    (whole,) = embedding_scatter({"": cloud(points)}, labels, names).axes
    figure = embedding_scatter({"": cloud(points[labels != 1])}, labels[labels != 1], names)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "c"]
    left = looks(figure.axes[0], ["a", "c"])
    assert left == {name: look for name, look in looks(whole, names).items() if name != "b"}


def test_many_classes_have_a_scale_of_colours_and_no_legend():
    labels = np.append(np.arange(100), -1)
    figure = embedding_scatter({"": cloud(np.random.rand(101, 2))}, labels, [str(i) for i in range(100)])
    assert not figure.legends and len(figure.axes) == 2
    unlabelled, known = figure.axes[0].collections
    assert len(unlabelled.get_offsets()) == 1
    np.testing.assert_array_equal(known.get_array(), np.arange(100))
    assert figure.axes[1].get_ylabel() == "class (of 100)"


def test_panels_in_rows_and_long_names_in_lines():
    clouds = {str(i): cloud(np.random.rand(4, 2)) for i in range(5)}
    long = "actinic keratoses and intraepithelial carcinoma " * 3
    figure = embedding_scatter(clouds, np.zeros(4, int), [long], columns=3)
    assert len(figure.axes) == 5
    grid = [
        (axes.get_subplotspec().rowspan.start, axes.get_subplotspec().colspan.start) for axes in figure.axes
    ]
    assert grid == [(0, 0), (0, 2), (0, 4), (1, 1), (1, 3)]
    (text,) = figure.legends[0].get_texts()
    assert text.get_text().replace("\n", " ") == long.strip() and "\n" in text.get_text()


def test_a_title_is_no_wider_than_its_panel():
    run = "simclr-nat_resnet18_1xb256-adamw-10000e_retinamnist, 48 % of the variance"
    figure = embedding_scatter(
        {run: cloud(np.random.rand(4, 2)), "b": cloud(np.random.rand(4, 2))}, np.zeros(4, int), ["a"]
    )
    figure.canvas.draw()
    title, panel = figure.axes[0].title, figure.axes[0]
    assert title.get_text().replace("\n", "").replace(" ", "") == run.replace(" ", "")
    assert title.get_window_extent().width <= panel.get_window_extent().width


@pytest.mark.parametrize(
    ("panels", "labels", "classes", "message"),
    [
        ({}, np.zeros(3), ["a"], "at least one panel"),
        ({"": cloud(np.zeros((3, 3)))}, np.zeros(3), ["a"], r"points must be \(N, 2\)"),
        ({"": cloud(np.zeros((3, 2)))}, np.zeros(2), ["a"], r"labels \(N,\)"),
        ({"": cloud(np.zeros((3, 2)))}, np.array([0, 1, 2]), ["a", "b"], r"\[-1, 1\], got \[0, 2\]"),
    ],
)
def test_refusals(panels, labels, classes, message):
    with pytest.raises(ValueError, match=message):
        embedding_scatter(panels, labels, classes)


def test_tsne_keeps_neighbours_and_is_seeded():
    centres = np.random.default_rng(0).normal(size=(3, 20)) * 20
    labels = np.arange(60) % 3
    features = centres[labels] + np.random.default_rng(1).normal(size=(60, 20))
    points = tsne_projection(torch.from_numpy(features), perplexity=5, seed=1)
    assert points.shape == (60, 2)
    np.testing.assert_array_equal(points, tsne_projection(features, perplexity=5, seed=1))
    # One column has no second component to start from, so that the start is random.
    one, other = (tsne_projection(features[:, :1], perplexity=5, seed=seed) for seed in (1, 2))
    assert not np.array_equal(one, other)
    nearest = NearestNeighbors(n_neighbors=2).fit(points).kneighbors(return_distance=True)[1][:, 1]
    assert (labels[nearest] == labels).all()
    for perplexity in (60, 0):
        with pytest.raises(ValueError, match=f"perplexity is {perplexity}; for 60 points"):
            tsne_projection(features, perplexity=perplexity)


def test_umap_is_asked_for_seeded_neighbours(monkeypatch):
    asked = []

    class UMAP:
        def __init__(self, **settings):
            asked.append(settings)

        def fit_transform(self, array):
            return array[:, :2]

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=UMAP))
    features = torch.rand(30, 5)
    np.testing.assert_array_equal(umap_projection(features, seed=4), features[:, :2].numpy())
    umap_projection(features[:6])
    assert asked == [
        dict(n_neighbors=15, random_state=4, n_jobs=1, init="spectral"),
        dict(n_neighbors=5, random_state=0, n_jobs=1, init="random"),
    ]
    with pytest.raises(ValueError, match="at least 4 points, got 3"):
        umap_projection(features[:3])
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ImportError, match="pip install umap-learn"):
        umap_projection(features)


@pytest.mark.slow
@pytest.mark.parametrize("count", [6, 60])
def test_umap_itself(count):
    pytest.importorskip("umap")
    features = np.random.default_rng(0).normal(size=(count, 20))
    points = umap_projection(features, seed=1)
    assert points.shape == (count, 2) and np.isfinite(points).all()
    np.testing.assert_array_equal(points, umap_projection(features, seed=1))
