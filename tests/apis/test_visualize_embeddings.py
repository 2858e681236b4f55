"""Embedding figures show the features of evaluation; errors are one sentence."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from ssl_ext.apis import visualize_embeddings
from ssl_ext.apis.figures.embeddings import embedding_figure
from ssl_ext.apis.figures.titles import checkpoint_titles
from ssl_ext.config.networks import random_network
from ssl_ext.datasets import Digits
from ssl_ext.errors import UserError
from ssl_ext.models.evaluated import EvaluatedModel


@pytest.fixture
def checkpoints(tiny_config, tmp_path):
    """Two runs with networks of different random weights."""
    paths = []
    for seed, name in ((7, "one"), (8, "two")):
        paths.append(tmp_path / name / "epoch_2.pth")
        paths[-1].parent.mkdir()
        network = random_network(tiny_config, seed=seed, device=torch.device("cpu"))
        torch.save({"state_dict": network.state_dict()}, paths[-1])
    return paths


def features(config, seed, split):
    network = random_network(config, seed=seed, device=torch.device("cpu"))
    with torch.no_grad():
        return EvaluatedModel(network).embed(Digits(split, image_size=8).images).numpy()


def shown(axes):
    return {cloud.get_label(): np.asarray(cloud.get_offsets()) for cloud in axes.collections}


def test_checkpoints_are_titled_by_what_differs_in_their_trainings(tmp_path):
    def saved(name, seed, epoch):
        config = f"model = dict(type='TriMix')\nrandomness = dict(seed={seed})\n"
        torch.save({"meta": {"cfg": config, "epoch": epoch}, "state_dict": {}}, tmp_path / name)
        return tmp_path / name

    paths = [saved("a.pth", 0, 6), saved("b.pth", 0, 12), saved("c.pth", 1, 12)]
    assert checkpoint_titles(paths, None) == ["seed 0, epoch 6", "seed 0, epoch 12", "seed 1, epoch 12"]
    assert checkpoint_titles(paths[1:], None) == ["seed 0", "seed 1"]
    assert checkpoint_titles(paths[:1], None) == ["TriMix, seed 0, epoch 6"]
    assert checkpoint_titles(paths[:2], ["early", "late"]) == ["early", "late"]
    assert checkpoint_titles([paths[0], saved("d.pth", 0, 6)], None) == ["a", "d"]
    with pytest.raises(UserError, match="--titles 'x' 'x': give 2 different titles"):
        checkpoint_titles(paths[:2], ["x", "x"])


def test_pca_is_fitted_on_train_and_kept_features_are_used(tiny_config, checkpoints):
    figure = embedding_figure(tiny_config, checkpoints)
    data = Digits("test", image_size=8)
    for axes, seed, name in zip(figure.axes, (7, 8), ("one", "two"), strict=True):
        pca = PCA(2, random_state=0).fit(features(tiny_config, seed, "train"))
        points = pca.transform(features(tiny_config, seed, "test"))
        assert axes.get_title() == name
        shares = [f"{100 * share:.1f} % of variance" for share in pca.explained_variance_ratio_]
        assert (axes.get_xlabel(), axes.get_ylabel()) == (f"PC 1 ({shares[0]})", f"PC 2 ({shares[1]})")
        for index, (label, cloud) in enumerate(shown(axes).items()):
            assert label == data.classes[index]
            np.testing.assert_allclose(cloud, points[data.labels == index], atol=1e-3)
    kept = {p: p.stat().st_mtime_ns for p in checkpoints[0].parent.glob("evaluation/features/*")}
    assert sorted(path.name.split("_")[0] for path in kept) == ["test", "train"]
    embedding_figure(tiny_config, checkpoints[:1], split="train")
    assert {p: p.stat().st_mtime_ns for p in checkpoints[0].parent.glob("evaluation/features/*")} == kept


def test_tsne_of_fifty_components_of_chosen_points(tiny_config, checkpoints):
    arguments = dict(method="tsne", perplexity=[3, 7.5], points=40, exclude_class=["3", "8"], seed=2)
    figure = embedding_figure(tiny_config, checkpoints, **arguments)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == [f"{name}, perplexity {p}" for name in ("one", "two") for p in ("3", "7.5")]
    assert [axes.get_subplotspec().rowspan.start for axes in figure.axes] == [0, 0, 1, 1]

    labels = Digits("test", image_size=8).labels
    rows = ((labels != 3) & (labels != 8)).nonzero()[:, 0]
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(2))
    rows = rows[order[:40].sort().values]
    pca = PCA(50, random_state=0).fit(features(tiny_config, 7, "train"))
    reduced = pca.transform(features(tiny_config, 7, "test")[rows])
    points = TSNE(perplexity=3, init="pca", random_state=2).fit_transform(reduced)
    clouds = shown(figure.axes[0])
    assert not {"3", "8"} & set(clouds) and sum(map(len, clouds.values())) == 40
    for name, cloud in clouds.items():
        expected = points[labels[rows] == int(name)]
        assert cloud.shape == expected.shape
        # t-SNE amplifies rounding, so points are compared roughly.
        np.testing.assert_allclose(cloud, expected, atol=0.1 * np.ptp(points))
    single = embedding_figure(tiny_config, checkpoints[:1], **arguments)
    assert [axes.get_title() for axes in single.axes] == ["perplexity 3", "perplexity 7.5"]


def test_umap_sees_the_features_themselves(tiny_config, checkpoints, monkeypatch):
    asked = []
    monkeypatch.setattr(
        visualize_embeddings,
        "umap_projection",
        lambda array, seed: asked.append((array, seed)) or array[:, :2],
    )
    embedding_figure(tiny_config, checkpoints[:1], method="umap", seed=5, points=10_000)
    ((array, seed),) = asked
    np.testing.assert_allclose(array, features(tiny_config, 7, "test"), atol=1e-5)
    assert seed == 5

    def missing(array, seed):
        raise ImportError("UMAP needs the package umap-learn (pip install umap-learn)")

    monkeypatch.setattr(visualize_embeddings, "umap_projection", missing)
    with pytest.raises(UserError, match="embed: UMAP needs the package umap-learn"):
        embedding_figure(tiny_config, checkpoints[:1], method="umap")


def npz(config, path, classes=None, **labels):
    arrays = {f"x_{split}": np.random.rand(len(y), 8, 8, 3).astype(np.float32) for split, y in labels.items()}
    arrays.update((f"y_{split}", np.array(y)) for split, y in labels.items())
    np.savez(path, **arrays, **({"classes": np.array(classes)} if classes else {}))
    config.evaluation_dataset = dict(type="NPZDataset", data_root=str(path))


def test_many_classes_and_a_set_without_test_split(tiny_config, checkpoints, tmp_path):
    npz(tiny_config, tmp_path / "many.npz", train=range(90), val=[*range(89), 0])
    figure = embedding_figure(tiny_config, checkpoints[:1])
    assert not figure.legends and len(figure.axes[0].collections[0].get_offsets()) == 90
    assert list(checkpoints[0].parent.glob("evaluation/features/val_*"))


def test_classes_are_excluded_by_name_whatever_its_spelling(tiny_config, checkpoints, tmp_path):
    names = ["Melanocytic nevi", "1", "0"]
    npz(tiny_config, tmp_path / "named.npz", names, train=[0, 1, 2, 2, 1], test=[0, 1, 2, 2, 1])
    (axes,) = embedding_figure(tiny_config, checkpoints[:1], exclude_class=["melanocytic_Nevi", "1"]).axes
    assert list(shown(axes)) == ["0"]  # a numeric class name takes precedence over an index
    with pytest.raises(UserError, match="--exclude-class 'x': the classes are Melanocytic nevi, 1, 0"):
        embedding_figure(tiny_config, checkpoints[:1], exclude_class=["x"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(method="mds"), "--method is 'mds'; allowed are pca, tsne, umap"),
        (dict(points=1), "--points is 1"),
        (dict(method="tsne", perplexity=[5, 30], points=30), "--perplexity is 30; with 30 points"),
        (dict(method="tsne", perplexity=[]), "one perplexity"),
        (dict(split="tests"), "evaluation_dataset.*tests"),
        (dict(exclude_class=[str(i) for i in range(10)]), "Only 0 images are left"),
    ],
)
def test_refusals_before_any_work(tiny_config, checkpoints, arguments, message):
    with pytest.raises(UserError, match=message):
        embedding_figure(tiny_config, checkpoints, **arguments)
    assert not (checkpoints[0].parent / "evaluation").exists()


def test_several_labels_an_image_are_refused(tiny_config, checkpoints, tmp_path):
    npz(tiny_config, tmp_path / "multi.npz", train=[[0, 1]] * 4, test=[[0, 1]] * 4)
    tiny_config.evaluation_dataset.task = "multi-label"
    with pytest.raises(UserError, match="several labels per image"):
        embedding_figure(tiny_config, checkpoints)
