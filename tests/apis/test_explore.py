"""The explorer page: its content equals slow computations, and hostile or unsuitable input does no harm."""

import base64
import copy
import csv
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from chromium import CHROMIUM, chromium
from mmengine.config import Config
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from sklearn.metrics.pairwise import cosine_distances
from sklearn.neighbors import NearestNeighbors

from ssl_ext.apis import evaluate, explore, load_config
from ssl_ext.apis.explore import run as module
from ssl_ext.apis.explore.thumbnails import SMALLEST, make_sheets, read_thumbnails
from ssl_ext.config.networks import random_network
from ssl_ext.datasets import ArrayDataset, Digits
from ssl_ext.errors import UserError
from ssl_ext.models.evaluated import EvaluatedModel

EVIL = "</script><script>document.title='run'</script>"
KINDS = dict(rows="<u4", neighbours="<u2", similarity="<i2", codes="<u2")
HIDDEN = 0xFFFF


def network(config, seed):
    return random_network(config, seed=seed, device=torch.device("cpu"))


def save(config, path, seed=7):
    """A checkpoint with its config, as a training writes it."""
    config = load_config(config)
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = dict(cfg=config.pretty_text, iter=1, epoch=1)
    torch.save({"state_dict": network(config, seed).state_dict(), "meta": meta}, path)
    return path


def images_of(split, count):
    digits = Digits(split, image_size=8)
    return digits.images[:count], digits.labels[:count]


@pytest.fixture(scope="module")
def settings(tiny_settings):
    return Config(copy.deepcopy(tiny_settings))


class Scripts(HTMLParser):
    """Texts of the scripts and styles of a page, and all attributes."""

    def __init__(self, text):
        super().__init__()
        self.texts, self.attributes, self.open = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.attributes += attributes
        self.open = tag if tag in ("script", "style") else None
        if self.open:
            self.texts.append((tag, ""))

    def handle_data(self, text):
        if self.open:
            tag, before = self.texts[-1]
            self.texts[-1] = tag, before + text

    def handle_endtag(self, tag):
        self.open = None


def unpacked(node):
    """The data of a page with its arrays."""
    if isinstance(node, list):
        return [unpacked(one) for one in node]
    if not isinstance(node, dict):
        return node
    found = {}
    for key, value in node.items():
        if key in KINDS:
            value = np.frombuffer(base64.b64decode(value), KINDS[key])
        elif key == "projections":
            planes = {name: np.frombuffer(base64.b64decode(one), "<u2") for name, one in value.items()}
            value = {name: one.reshape(-1, 2).astype(int) for name, one in planes.items()}
        found[key] = unpacked(value)
    return found


def content(path):
    _, (_, data), _ = Scripts(path.read_text()).texts
    return unpacked(json.loads(data))


def texts(categories):
    return [None if code == HIDDEN else categories["names"][code] for code in categories["codes"]]


@pytest.fixture(scope="module")
def made(settings, tmp_path_factory):
    """A page of two runs on 60 test digits, with the features that it shows."""
    folder = tmp_path_factory.mktemp("explore")
    checkpoints = [save(settings, folder / name / "epoch_1.pth", seed) for name, seed in (("a", 7), ("b", 8))]
    (page,) = explore([path.parent for path in checkpoints], limit=60, seed=3)
    assert page == folder / "a" / "explore.html"
    data = content(page)
    with torch.no_grad():
        features = [
            {
                split: EvaluatedModel(network(settings, seed))
                .embed(Digits(split, image_size=8).images)
                .numpy()
                for split in ("train", "test")
            }
            for seed in (7, 8)
        ]
    return SimpleNamespace(page=page, data=data, features=features, checkpoints=checkpoints, folder=folder)


def test_points_are_a_seeded_choice_of_the_reported_split(made):
    digits, rows = Digits("test", image_size=8), made.data["rows"]
    assert made.data["split"] == "test" and made.data["count"] == len(set(rows)) == 60
    assert (np.diff(rows.astype(int)) > 0).all()
    assert texts(made.data["categories"]["class"]) == [
        str(label) for label in digits.labels[rows.tolist()].tolist()
    ]
    assert made.data["files"] is None and [side["name"] for side in made.data["sides"]] == ["a", "b"]


def test_neighbours_are_those_of_scikit_learn_by_cosine(made):
    for side, features in zip(made.data["sides"], made.features, strict=True):
        chosen = features["test"][made.data["rows"]]
        distance, rows = NearestNeighbors(n_neighbors=13, metric="cosine").fit(chosen).kneighbors(chosen)
        shape = 60, side["perPoint"]
        assert shape[1] == 12 and (rows[:, 0] == np.arange(60)).all()
        # Neighbours at nearly the same distance may be exchanged.
        found = cosine_distances(chosen)[np.arange(60)[:, None], side["neighbours"].reshape(shape)]
        np.testing.assert_allclose(found, distance[:, 1:], atol=1e-6)
        assert not (found[:, :-1] > found[:, 1:] + 1e-6).any()
        np.testing.assert_allclose(side["similarity"].reshape(shape) / 1e4, 1 - distance[:, 1:], atol=6e-5)


def in_steps(plane):
    """The plane in 0 … 65535, centred, y down."""
    plane = plane * [1, -1]
    low, high = plane.min(axis=0), plane.max(axis=0)
    return 65535 * ((plane - (low + high) / 2) / (high - low).max() + 0.5)


def test_projections_are_of_these_features(made):
    for side, features in zip(made.data["sides"], made.features, strict=True):
        chosen = features["test"][made.data["rows"]]
        pca = PCA(2, random_state=0).fit(features["train"])
        np.testing.assert_allclose(side["projections"]["pca"], in_steps(pca.transform(chosen)), atol=20)
        assert side["about"].startswith(f"PCA {100 * pca.explained_variance_ratio_.sum():.0f} %")
        assert trustworthiness(chosen, side["projections"]["tsne"], n_neighbors=5) > 0.9
        assert len(np.unique(side["categories"]["cluster"]["codes"])) == 10


@pytest.mark.parametrize("k", [20, [1, 5, 20]], ids=["one k", "k chosen on validation"])
def test_predictions_are_those_of_the_knn_protocol(made, settings, k, tmp_path):
    config = copy.deepcopy(settings)
    config.evaluation.knn.k = k
    checkpoint = save(config, tmp_path / "run" / "epoch_1.pth")
    (row,) = evaluate(config, checkpoint, protocols=["knn"])
    (page,) = explore([checkpoint], projections=[])
    (side,) = content(page)["sides"]
    right = np.array(texts(side["categories"]["correct"])) == "right"
    assert (
        right.mean() == pytest.approx(row.last["acc"])
        and f"kNN {100 * right.mean():.1f} % right" in side["about"]
    )
    labels = Digits("test", image_size=8).labels.tolist()
    predicted = texts(side["categories"]["predicted"])
    assert (np.array([str(label) for label in labels]) == np.array(predicted)).tolist() == right.tolist()


def test_a_training_image_does_not_vote_for_itself(made, settings, tmp_path):
    config = copy.deepcopy(settings)
    config.evaluation.knn = dict(k=1, temperature=0.1)
    (page,) = explore(
        [made.checkpoints[0]],
        config=config,
        split="train",
        limit=300,
        projections=[],
        out=tmp_path / "page.html",
    )
    data, bank = content(page), made.features[0]["train"]
    rows = data["rows"].tolist()
    unit = bank / np.linalg.norm(bank, axis=1, keepdims=True)
    similarity = unit[rows] @ unit.T
    similarity[np.arange(300), rows] = -1
    expected = Digits("train", image_size=8).labels[similarity.argmax(axis=1)].tolist()
    assert texts(data["sides"][0]["categories"]["predicted"]) == [str(label) for label in expected]


@pytest.fixture(scope="module")
def hostile(settings, tmp_path_factory):
    """A page of a set with groups whose names are markup, a formula and quotes."""
    folder = tmp_path_factory.mktemp("hostile")
    arrays = {"classes": np.array([EVIL, '=1+"1"', "c"])}
    for split, count in dict(train=90, test=40).items():
        images, labels = images_of(split, count)
        arrays[f"x_{split}"], arrays[f"y_{split}"] = images.numpy(), labels.numpy() % 3
        arrays[f"groups_{split}"] = np.array([f"{split} {EVIL[2:8]},{row % 7}" for row in range(count)])
    np.savez(folder / "set.npz", **arrays)
    config = copy.deepcopy(settings)
    config.evaluation_dataset = dict(type="NPZDataset", data_root=str(folder / "set.npz"), layout="NCHW")
    checkpoint = save(config, folder / "run" / "epoch_1.pth")
    page, projector = explore([checkpoint], projections=[], projector=True, out=folder / "page.html")
    return SimpleNamespace(
        page=page, projector=projector, arrays=arrays, config=config, checkpoint=checkpoint
    )


def test_the_page_runs_its_own_script_only_and_loads_nothing(hostile):
    text = hostile.page.read_text()
    found = Scripts(text)
    (style_tag, style), (data_tag, data), (script_tag, script) = found.texts
    assert (style_tag, data_tag, script_tag) == ("style", "script", "script")
    classes = json.loads(data)["categories"]["class"]
    assert classes["names"][0] == EVIL and EVIL not in text
    policy = next(value for _, value in found.attributes if value and "default-src" in value)
    for name, source in (("style", style), ("script", script)):
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert not re.search(r"https?:|\bimport\b|\bfetch\(|XMLHttp|src\s*=\s*[\"'](?!data:)", style + script)
    assert not [v for k, v in found.attributes if k in ("src", "href") and not v.startswith("data:")]


def test_the_projector_has_features_metadata_and_sprite(hostile):
    folder = hostile.checkpoint.parent / "vis_data"
    assert hostile.projector == folder
    config = (folder / "projector_config.pbtxt").read_text()
    paths = {
        key: folder / re.search(rf'{key}: "(.+?)"', config)[1]
        for key in ("tensor_path", "metadata_path", "image_path")
    }
    assert "single_image_dim: 8\n    single_image_dim: 8" in config
    images = torch.from_numpy(hostile.arrays["x_test"])
    with torch.no_grad():
        expected = EvaluatedModel(network(hostile.config, 7)).embed(images)
    np.testing.assert_allclose(np.loadtxt(paths["tensor_path"]), expected.numpy(), rtol=1e-4, atol=1e-5)
    header, *lines = [line.split("\t") for line in paths["metadata_path"].read_text().splitlines()]
    assert header == ["image", "class", "cluster", "group", "predicted", "correct"] and len(lines) == 40
    names = hostile.arrays["classes"][hostile.arrays["y_test"]]
    assert [line[:2] + line[3:4] for line in lines] == [
        [str(row), name, group]
        for row, (name, group) in enumerate(zip(names, hostile.arrays["groups_test"], strict=True))
    ]
    sprite = np.asarray(Image.open(paths["image_path"]))
    assert sprite.shape == (56, 56, 3)
    np.testing.assert_allclose(sprite[8:16, 16:24], images[7 + 2].permute(1, 2, 0), atol=1)


def save_files(folder):
    """Write 30 digits of each split as files, and the CSV file that lists them."""
    lines = ["file,label,split,group"]
    for split in ("train", "test"):
        images, labels = images_of(split, 30)
        (folder / split).mkdir()
        for row, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
            name = f"{split}/{row:02}.png"
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / name)
            lines.append(f"{name},{label},{split},{split}{row % 5}")
    (folder / "labels.csv").write_text("\n".join(lines))
    return dict(
        type="ImageFiles", data_root=str(folder), labels_file=str(folder / "labels.csv"), image_size=8
    )


def test_files_are_named_with_their_groups_and_without_labels_clusters_are_shown(settings, tmp_path):
    config = copy.deepcopy(settings)
    config.evaluation_dataset = save_files(tmp_path)
    (page,) = explore([save(config, tmp_path / "run" / "epoch_1.pth")], projections=[])
    data = content(page)
    assert data["files"] == [f"test/{row:02}.png" for row in range(30)]
    assert texts(data["categories"]["group"]) == [f"test{row % 5}" for row in range(30)]

    (page, folder) = explore([tmp_path / "run"], projections=[], names=False, projector=True)
    data, text = content(page), page.read_text() + (folder / "00000/test/metadata.tsv").read_text()
    assert data["files"] is None and "File names are left out and groups are numbered" in text
    assert texts(data["categories"]["group"]) == [str(row % 5 + 1) for row in range(30)]
    assert not re.search(r"test[0-4]\b|\.png", text)

    config.train_dataloader.dataset = dict(type="ImageFiles", data_root=str(tmp_path / "train"), image_size=8)
    config.evaluation_dataset = None
    (page,) = explore([save(config, tmp_path / "other" / "epoch_1.pth")], limit=20, projections=[])
    data = content(page)
    assert data["split"] == "train" and data["categories"] == {} and len(data["files"]) == 20
    assert list(data["sides"][0]["categories"]) == ["cluster"] and "kNN" not in data["sides"][0]["about"]


def test_several_labels_an_image_are_named_together(settings, tmp_path):
    arrays = {"classes": np.array(["x", "y"])}
    for split, count in dict(train=40, test=20).items():
        images, labels = images_of(split, count)
        arrays[f"x_{split}"] = images.numpy()
        arrays[f"y_{split}"] = np.stack([labels % 2, labels < 5], axis=1).astype(np.int64)
    np.savez(tmp_path / "set.npz", **arrays)
    config = copy.deepcopy(settings)
    config.evaluation_dataset = dict(
        type="NPZDataset", data_root=str(tmp_path / "set.npz"), layout="NCHW", task="multi-label"
    )
    (page,) = explore([save(config, tmp_path / "run" / "epoch_1.pth")], projections=[])
    data = content(page)
    found, (side,) = texts(data["categories"]["class"]), data["sides"]
    assert found == [
        {(0, 0): "none", (1, 0): "x", (0, 1): "y", (1, 1): "x + y"}[tuple(y)] for y in arrays["y_test"]
    ]
    assert side["categories"]["predicted"]["names"][: len(set(found))] == data["categories"]["class"]["names"]
    verdicts = [
        {True: "right", False: "wrong"}[a == b]
        for a, b in zip(found, texts(side["categories"]["predicted"]), strict=True)
    ]
    assert texts(side["categories"]["correct"]) == verdicts


def test_sheets_show_every_image_in_its_cell_and_keep_to_the_budget():
    images = torch.randint(
        0, 256, (150, 1, 5, 6), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    images = images.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)  # 20 × 24 pixels
    thumbnails = read_thumbnails(ArrayDataset(images), torch.arange(150))
    sheets = make_sheets(thumbnails)
    assert (sheets.width, sheets.height, sheets.cell, sheets.columns) == (24, 20, 24, 13)
    for point in (0, 12, 13, 149):
        sheet = np.asarray(Image.open(io.BytesIO(sheets.files[point // sheets.per_sheet])), dtype=float)
        place = point % sheets.per_sheet
        y, x = (24 * number for number in divmod(place, sheets.columns))
        assert np.abs(sheet[y : y + 20, x : x + 24, 0] - images[point, 0].numpy()).mean() < 12
    small = make_sheets(thumbnails, budget=sheets.bytes * 4 // 5)
    assert small.bytes <= sheets.bytes * 4 // 5 and SMALLEST <= small.width < 24
    assert make_sheets(thumbnails, budget=1).width == SMALLEST
    wide = read_thumbnails(ArrayDataset(images.repeat(1, 4, 2, 8)), torch.arange(2))
    assert wide.shape == (2, 3, 13, 64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(projections=["mds"]), "--projections is 'mds'; allowed are pca, tsne, umap"),
        (dict(limit=1), "--limit is 1; 2 to 65534"),
        (dict(limit=70_000), "--limit is 70000"),
        (dict(split="dev"), "--split is 'dev'; the data have train, val, test"),
    ],
)
def test_refusals(made, arguments, message):
    with pytest.raises(UserError, match=message):
        explore([made.checkpoints[0]], **arguments)


def test_runs_that_cannot_be_shown_are_named(made, settings, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="3 runs are given"):
        explore([made.folder] * 3)
    with pytest.raises(UserError, match="is a folder without weight files"):
        explore([tmp_path])
    bare = tmp_path / "bare.pth"
    torch.save({"state_dict": network(settings, 7).state_dict()}, bare)
    with pytest.raises(UserError, match="no config in it or beside it"):
        explore([bare])
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="--projections umap needs the package umap-learn"):
        explore([made.checkpoints[0]], projections=["umap"])


def test_data_sets_of_a_checkpoints_config_are_of_this_project(settings, tmp_path):
    config = copy.deepcopy(settings)
    path = save(config, tmp_path / "epoch_1.pth")
    content = torch.load(path, weights_only=False)
    for name in ("CustomDataset", "mmpretrain.CIFAR10", "subprocess.Popen"):
        content["meta"]["cfg"] = config.pretty_text.replace("type='Digits'", f"type='{name}'")
        torch.save(content, path)
        with pytest.raises(UserError, match=f"type='{name}', which is not a registered data set"):
            explore([path])


# Position of a point of a plot in the window.
PLACE = """(plot, point) => {
  const [box, [x, y]] = [plot.box.getBoundingClientRect(), plot.position(point)];
  return [box.left + x, box.top + y];
}"""
PIXELS = """canvas => [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data]"""


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_the_page_in_chromium(made, hostile, tmp_path):
    with chromium(tmp_path / "profile") as page:
        page.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
        page.open(made.page)
        place = lambda plot, point: page.do(f"({PLACE})(plots[{plot}], {point})")  # noqa: E731

        # A point under the mouse shows its image and its neighbours on both sides.
        point = page.do("plots[1].nearest(...plots[1].position(17))")
        page.mouse("Moved", *place(1, point))
        page.settle()
        row = made.data["rows"][point]
        (red, green, blue) = Digits("test", image_size=8).images[row]
        for where in ("#tip canvas", "#details .chosen canvas"):
            pixels = np.array(page.do(f"({PIXELS})(document.querySelector('{where}'))")).reshape(8, 8, 4)
            assert np.abs(pixels[..., :3] - np.stack([red, green, blue], axis=-1)).mean() < 6
        shown = page.do(
            "[...document.querySelectorAll('.nearest canvas')].map(canvas => +canvas.dataset.point)"
        )
        assert shown == [
            int(other) for side in made.data["sides"] for other in side["neighbours"].reshape(60, 12)[point]
        ]
        assert page.do("[plots[0], plots[1]].map(plot => shownPoint())") == [point, point]
        page.mouse("Moved", 5, 5)
        assert page.do("tip.hidden && shownPoint()") == -1

        # A click keeps the image; a neighbour can be chosen.
        page.click(*place(0, 30))
        pinned = page.do("state.pinned")
        page.do("document.querySelector('.nearest button').click()")
        assert page.do("state.pinned") == made.data["sides"][0]["neighbours"].reshape(60, 12)[pinned][0]

        # Colours are those of the categories; a class that is switched off is neither drawn nor selected.
        def tints(colour):
            page.do(f"document.getElementById('colour').value = '{colour}'")
            page.do("document.getElementById('colour').dispatchEvent(new Event('change'))")
            return [np.array(page.do(f"[...plots[{plot}].tints]")) for plot in (0, 1)]

        for colour in ("correct", "cluster", "class"):
            for side, found in zip(made.data["sides"], tints(colour), strict=True):
                codes = (side["categories"] | made.data["categories"])[colour]["codes"]
                assert (
                    len({*zip(codes.tolist(), found.tolist(), strict=True)})
                    == len(set(codes))
                    == len(set(found))
                )
        page.do("document.querySelector('#legend input').click()")
        zeros = np.array(texts(made.data["categories"]["class"])) == "0"
        page.settle()
        assert (
            page.do("[...plots[0].tints].map((tint, point) => plots[0].visible(point))") == (~zeros).tolist()
        )

        # Search dims the others; the lasso selects what it surrounds in all plots, without hidden classes.
        page.do("document.getElementById('search').value = '7'; search()")
        assert page.do("[...state.matching].map(Boolean)") == [
            text == "7" for text in texts(made.data["categories"]["class"])
        ]
        page.do("document.getElementById('search').value = ''; search(); chooseTool(true)")
        box = "plots[0].box.getBoundingClientRect()"
        x, y, w, h = (page.do(f"{box}.{key}") for key in ("x", "y", "width", "height"))
        page.drag([(x + 2, y + 2), (x + w / 2, y + 2), (x + w / 2, y + h - 2), (x + 2, y + h - 2)])
        places = [place(0, each) for each in range(60)]
        inside = np.array([left < x + w / 2 for left, _ in places]) & ~zeros
        assert 0 < inside.sum() < 60 and page.do("[...state.selected].map(Boolean)") == inside.tolist()
        page.do("document.getElementById('save').click()")
        saved = tmp_path / "test_selection.csv"
        for _ in range(100):
            if saved.exists():
                break
            page.settle()
        lines = list(csv.DictReader(io.StringIO(saved.read_text())))
        labels = Digits("test", image_size=8).labels
        assert [(int(line["index"]), line["class"]) for line in lines] == [
            (row, str(int(labels[row]))) for row in made.data["rows"][inside].tolist()
        ]
        page.do("document.getElementById('clear').click()")
        assert page.do("state.selectedCount") == 0

        # On a phone everything fits the width; two fingers zoom about their middle, and a tap shows an image.
        page.open(made.page, 390, 844, phone=True)
        assert page.do("document.documentElement.scrollWidth") == 390
        x, y = (round(value) for value in place(0, 5))
        before = page.do("plots[0].scale")
        page.touch("Start", (x - 20, y), (x + 20, y))
        page.touch("Move", (x - 40, y), (x + 40, y))
        page.touch("End")
        assert page.do("plots[0].scale") / before == pytest.approx(2, rel=0.05)
        assert np.allclose(place(0, 5), (x, y), atol=3)
        page.touch("Start", (x, y))
        page.touch("End")
        page.settle()
        assert page.do("state.pinned") == page.do("plots[0].nearest(...plots[0].position(5))") >= 0

        # Names are text, in the page and in the CSV file.
        page.open(hostile.page)
        assert page.do("document.title") == "run/epoch_1"
        page.do("state.selected.fill(1)")
        lines = list(csv.reader(io.StringIO(page.do("selectionCsv()"))))
        classes, groups = hostile.arrays["classes"], hostile.arrays["groups_test"].tolist()
        assert lines[0] == ["index", "class", "group"]
        expected = [("'" if code == 1 else "") + classes[code] for code in hostile.arrays["y_test"]]
        assert [line[1:] for line in lines[1:]] == [list(pair) for pair in zip(expected, groups, strict=True)]
        assert page.do("document.querySelectorAll('script').length") == 2
        assert not page.errors and all(url.startswith(("data:", "file:", "blob:")) for url in page.requests)
