"""ODC and its clusters: against slow versions, with adversarial embeddings, and on real images."""

import json
import re

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import normalized_mutual_info_score

from ssl_ext.apis import build_model, pretrain
from ssl_ext.engine import read_checkpoint
from ssl_ext.errors import UserError
from ssl_ext.losses import cluster_cross_entropy
from ssl_ext.models.utils import ClusterBank
from ssl_ext.models.utils.cluster_bank import split_in_two
from ssl_ext.registry import DATASETS

SIZE, DIM, K = 60, 4, 5


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def bank():
    """Bank started on random embeddings."""
    bank = ClusterBank(SIZE, DIM, K, momentum=0.25, min_size=3)
    bank.start(normal(SIZE, DIM))
    return bank


def check(bank):
    """Every image has a cluster and every cluster an image."""
    counts = torch.bincount(bank.labels, minlength=len(bank.centroids))
    assert counts.shape == bank.counts().shape and torch.equal(counts, bank.counts())
    assert counts.min() > 0 and counts.sum() == len(bank.labels)
    assert torch.isfinite(bank.features).all() and torch.isfinite(bank.centroids).all()
    return counts


def nearest(rows, centroids):
    return torch.tensor(
        [min(range(len(centroids)), key=lambda c: float((row - centroids[c]).norm())) for row in rows]
    )


def means(bank):
    return torch.stack([bank.features[bank.labels == c].mean(0) for c in range(len(bank.centroids))])


def test_clusters_start_as_k_means_of_the_embeddings():
    centres = torch.eye(4)[:3]
    truth = torch.arange(90) % 3
    features = 5 * (centres[truth] + 0.05 * normal(90, 4))
    bank = ClusterBank(90, 4, 3)
    assert bank.started == 0 and check(bank).tolist() == [30, 30, 30]
    bank.start(features)
    assert bank.started == 1 and normalized_mutual_info_score(truth, bank.labels) == 1
    torch.testing.assert_close(bank.features, F.normalize(features, dim=1))
    torch.testing.assert_close(bank.centroids, means(bank))
    again = ClusterBank(90, 4, 3)
    again.start(features)
    assert torch.equal(again.labels, bank.labels)


def test_update_moves_entries_and_gives_them_the_nearest_cluster(bank):
    before, centroids = bank.features.clone(), bank.centroids.clone()
    old, indices, new = bank.labels.clone(), torch.tensor([7, 3, 50, 3]), normal(4, DIM, seed=1)
    changed = bank.update(indices, new)
    expected = before.clone()
    for index, row in ((7, new[0]), (50, new[2]), (3, new[3])):  # the last embedding of an image is used
        expected[index] = F.normalize(0.25 * before[index] + 0.75 * F.normalize(row, dim=0), dim=0)
    torch.testing.assert_close(bank.features, expected)
    assert torch.equal(bank.labels[indices], nearest(bank.features[indices], centroids))
    others = torch.ones(SIZE, dtype=torch.bool).index_fill_(0, indices, False)
    assert torch.equal(bank.labels[others], old[others])
    assert torch.equal(bank.centroids, centroids)
    torch.testing.assert_close(changed, (bank.labels[indices] != old[indices]).float().mean())


def test_refresh_computes_centroids_as_means(bank):
    for seed in range(5):
        bank.update(torch.randperm(SIZE)[:20], normal(20, DIM, seed=seed))
    assert not torch.allclose(bank.centroids, means(bank))
    bank.refresh()
    torch.testing.assert_close(bank.centroids, means(bank))


def test_small_clusters_go_to_the_nearest_and_come_back_as_half_of_the_largest():
    directions = torch.tensor([[1.0, 0], [0.9, 0.4359], [0, 1], [-1, 0], [-0.9, -0.4359]])
    sizes = [8, 1, 8, 12, 12]  # the last two are one cluster, twice as large as the others
    features = torch.cat([row.expand(n, 2) for row, n in zip(directions, sizes, strict=True)])
    bank = ClusterBank(41, 2, 4, min_size=3)
    labels = torch.tensor([0] * 8 + [1] + [2] * 8 + [3] * 24)
    bank.features.copy_(features)
    bank.labels.copy_(labels)
    bank.refresh()
    assert bank.labels[:9].tolist() == [0] * 9  # the single image moved to the nearest cluster
    assert bank.labels[9:17].tolist() == [2] * 8
    parts = bank.labels[17:29].unique().tolist(), bank.labels[29:].unique().tolist()
    assert sorted(parts) == [[1], [3]]
    torch.testing.assert_close(bank.centroids, means(bank))


def adversary(kind, step):
    """Embeddings that move all images to few clusters."""
    if kind == "equal":
        return torch.ones(SIZE, DIM)
    if kind == "zero":
        return torch.zeros(SIZE, DIM)
    if kind == "two points":
        return torch.eye(DIM)[torch.arange(SIZE) % 2]
    if kind == "jumping":
        return torch.eye(DIM)[step % DIM].expand(SIZE, DIM)
    return normal(SIZE, DIM, seed=step) * torch.tensor([1, 1e-4, 1e-4, 1e-4])


@pytest.mark.parametrize("batch", [2, 3, 7, SIZE])
@pytest.mark.parametrize("kind", ["equal", "zero", "two points", "jumping", "line"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_no_cluster_is_ever_empty(kind, batch):
    bank = ClusterBank(SIZE, DIM, K, momentum=0.0, min_size=20)
    assert bank.min_size == 6  # no more than half of the mean size
    bank.start(adversary(kind, 0))
    assert check(bank).min() >= bank.min_size
    order = torch.Generator().manual_seed(0)
    for step in range(1, 41):
        indices = torch.randperm(SIZE, generator=order)[:batch]
        bank.update(indices, adversary(kind, step)[indices])
        check(bank)
        if step % 10 == 0:
            bank.refresh()
            assert check(bank).min() >= bank.min_size


def test_the_last_images_of_a_cluster_stay_until_the_next_refresh():
    bank = ClusterBank(6, 2, 3, momentum=0.0, min_size=1)
    bank.features.copy_(torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1], [-1, 0], [-1, 0]]))
    bank.labels.copy_(torch.tensor([0, 0, 1, 1, 2, 2]))
    bank.refresh()
    # Both images of cluster 0 are nearest to 1, both of 1 to 2: moving all would empty clusters.
    towards = torch.tensor([[0.0, 1], [0, 1], [-1, 0], [-1, 0]])
    assert bank.update(torch.arange(4), towards) == 0
    assert bank.labels.tolist() == [0, 0, 1, 1, 2, 2]
    # One at a time may move.
    assert bank.update(torch.tensor([0]), towards[:1]) == 1
    assert bank.labels.tolist() == [1, 0, 1, 1, 2, 2]


def test_split_finds_two_groups_and_keeps_both_large_enough():
    points = torch.cat([normal(30, 3), normal(11, 3, seed=1) + 20])[torch.randperm(41)]
    far = points.sum(1) > 15
    found = split_in_two(points)
    assert torch.equal(found, far) or torch.equal(found, ~far)
    assert split_in_two(points, smallest=18).sum() in (18, 41 - 18)
    assert split_in_two(torch.ones(8, 3), smallest=4).sum() == 4


@pytest.fixture
def configure(tiny_config):
    """Configure the tiny run for ODC, with a shallow network and weak augmentation."""

    def change(**options):
        model = tiny_config.model
        model.backbone.update(num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(1,))
        model.neck.update(in_channels=16, num_layers=2)
        parts = dict(backbone=model.backbone, neck=model.neck)
        options = dict(head=dict(type="ODCHead", in_channels=16, num_clusters=20), **options)
        tiny_config.model = dict(type="ODC", **parts, **options)
        tiny_config.views[0].update(repeats=1)
        tiny_config.views[0].transforms = [dict(type="RandomResizedCrop", scale=(0.8, 1.0))]
        tiny_config.custom_hooks = tiny_config.custom_hooks[:1]
        tiny_config.param_scheduler = []
        return tiny_config

    return change


def test_a_step_learns_the_clusters_it_has_and_then_updates_them(configure):
    torch.manual_seed(0)
    model = build_model(configure(min_size=2, interval=4)).train()
    model.set_dataset_size(50)
    images, indices = normal(6, 3, 8, 8), torch.tensor([4, 0, 19, 7, 40, 1])
    model.cluster_bank.start(normal(50, 16))
    bank, labels = model.cluster_bank, model.cluster_bank.labels.clone()
    z = model.neck((model.backbone(images)[-1].mean((2, 3)),))[0]
    expected = cluster_cross_entropy(model.head.classifier(z), labels[indices], bank.counts())
    before = bank.features.clone()
    losses = model.loss([images], dict(indices=indices))
    torch.testing.assert_close(losses["loss_cluster"], expected)
    moved = (bank.features != before).any(1).nonzero()[:, 0]
    assert moved.tolist() == indices.sort().values.tolist()
    losses["loss_cluster"].backward()
    assert all(p.grad.abs().max() > 0 for p in model.parameters())
    centroids = bank.centroids.clone()
    model.after_step(3, 10)
    assert torch.equal(bank.centroids, centroids)
    model.after_step(4, 10)
    assert not torch.equal(bank.centroids, centroids)
    model.eval()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    assert set(model.loss([images], dict(indices=indices))) == {"loss_cluster"}
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_pseudo_labels_of_digits_agree_with_their_classes(configure, tmp_path):
    config = configure()
    config.train_dataloader.batch_size = 128
    config.train_cfg.max_epochs = 16
    config.default_hooks.checkpoint.interval = 16
    model = pretrain(config, work_dir=tmp_path)
    (file,) = tmp_path.glob("*/vis_data/scalars.json")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    found = [row for row in rows if "cluster_nmi" in row]
    assert len(found) == 16
    assert all(row["cluster_smallest"] > 0 for row in found)
    classes = DATASETS.build(config.train_dataloader.dataset).labels
    clusters = model.cluster_bank.labels
    nmi = normalized_mutual_info_score(classes, clusters)
    assert found[-1]["cluster_nmi"] == pytest.approx(nmi)
    by_chance = normalized_mutual_info_score(classes, clusters[torch.randperm(len(clusters))])
    assert by_chance < 0.06 and nmi > 5 * by_chance
    (log,) = tmp_path.glob("*/*.log")
    start = re.search(r"clusters of 1078 images, .*; cluster_nmi: ([0-9.]+)\.\n", log.read_text())
    assert by_chance < float(start[1]) < nmi
    assert nmi > 2 * found[0]["cluster_nmi"]


def test_a_resumed_run_goes_on_with_its_clusters(configure, tmp_path, monkeypatch):
    config = configure(interval=1)
    config.train_dataloader.batch_size = 512
    pretrain(config, work_dir=tmp_path / "whole")
    monkeypatch.setattr(ClusterBank, "start", lambda self, features: pytest.fail("started again"))
    pretrain(config, work_dir=tmp_path / "cut", resume=tmp_path / "whole" / "epoch_1.pth")
    whole, cut = (read_checkpoint(tmp_path / run / "epoch_2.pth")["state_dict"] for run in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[key], cut[key]) for key in whole)
    assert whole["cluster_bank.features"].shape == (1078, 16)


def test_the_start_takes_no_random_number_of_the_run(configure, tmp_path, monkeypatch):
    config = configure()
    config.train_cfg.max_epochs = 1
    config.train_dataloader.batch_size = 512
    first = []
    real = type(build_model(config)).loss

    def loss(self, inputs, data_samples=None):
        first.append((inputs[0].clone(), data_samples["indices"].clone()))
        return real(self, inputs, data_samples)

    monkeypatch.setattr("ssl_ext.models.selfsup.odc.ODC.loss", loss)
    pretrain(config, work_dir=tmp_path / "with")
    with_start = first[0]
    first.clear()
    monkeypatch.setattr("ssl_ext.engine.hooks.clusters.ClusterHook.before_train", lambda self, runner: None)
    pretrain(config, work_dir=tmp_path / "without")
    assert all(torch.equal(a, b) for a, b in zip(first[0], with_start, strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(bank_momentum=1.0), "model.bank_momentum is 1.0"),
        (dict(min_size=0), "model.min_size is 0"),
        (dict(interval=0), "model.interval is 0"),
    ],
)
def test_bad_settings_name_the_key(configure, options, message):
    with pytest.raises(UserError, match=message):
        build_model(configure(**options))


def test_bad_input_is_named(configure):
    config = configure()
    config.model.head.num_clusters = 1
    with pytest.raises(UserError, match="model.head.num_clusters is 1"):
        build_model(config)
    config.model.head.num_clusters = 20
    model = build_model(config)
    with pytest.raises(RuntimeError, match="set_dataset_size"):
        model.loss([normal(2, 3, 8, 8)], dict(indices=torch.arange(2)))
    with pytest.raises(ValueError, match="20 clusters of 9 images"):
        model.set_dataset_size(9)
    model.set_dataset_size(30)
    with pytest.raises(ValueError, match="must give 'indices'"):
        model.loss([normal(2, 3, 8, 8)], {})
    with pytest.raises(IndexError, match="30 images"):
        model.before_step(1, 1, dict(indices=torch.tensor([0, 30])))
