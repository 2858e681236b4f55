import pytest
import torch
import torch.multiprocessing as mp
from torch import nn
from torch.utils.data import Subset

from ssl_ext.evaluation import batches, evaluation_mode, extract_features


class Whole:
    """Data set that returns whole batches, as in-memory data sets do."""

    def __init__(self, count=23):
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randint(256, (count, 3, 4, 4), generator=generator, dtype=torch.uint8)
        self.labels = torch.arange(count) % 5 - 1

    def __len__(self):
        return len(self.images)

    def __getitems__(self, rows):
        return dict(inputs=self.images[rows], labels=self.labels[rows])


class Single(Whole):
    """Data set that returns single samples."""

    __getitems__ = None

    def __getitem__(self, row):
        return dict(inputs=self.images[row], labels=self.labels[row])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.norm, self.frozen = nn.BatchNorm2d(3), nn.BatchNorm1d(6)
        self.linear, self.dropout = nn.Linear(48, 6), nn.Dropout(0.5)
        self.frozen.eval()

    def forward(self, images):
        return self.dropout(self.frozen(self.linear(self.norm(images / 255.0).flatten(1))))


@pytest.mark.parametrize("dataset", [Whole(), Single(), Subset(Whole(40), range(23))])
def test_features_are_those_of_one_pass_in_evaluation_mode(dataset):
    net = Net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    features, labels = extract_features(net, dataset, batch_size=7)
    assert net.training
    assert net.dropout.training
    assert not net.frozen.training
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])
    images, expected = next(batches(dataset, batch_size=23)).values()
    net.eval()
    torch.testing.assert_close(features, net(images).detach())
    assert not features.requires_grad
    assert torch.equal(labels, expected)


def test_workers_and_rows():
    rows = torch.tensor([5, 0, 22, 5])
    plain, plain_labels = extract_features(Net(), Whole(), batch_size=3)
    for workers in (0, 2):
        features, labels = extract_features(Net(), Single(), batch_size=3, rows=rows, num_workers=workers)
        torch.testing.assert_close(features, plain[rows])
        assert torch.equal(labels, plain_labels[rows])


def test_half_precision_embeddings_become_float32():
    features, _ = extract_features(lambda x: x.flatten(1).half(), Whole())
    assert features.dtype == torch.float32


def test_mode_returns_after_an_error():
    net = Net()
    with pytest.raises(RuntimeError), evaluation_mode(net):
        raise RuntimeError
    assert net.training
    assert not net.frozen.training
    with pytest.raises(ValueError, match="images, D"):
        extract_features(lambda x: x.float(), Whole())
    with pytest.raises(ValueError, match="0 images"):
        extract_features(net, Whole(), rows=torch.empty(0, dtype=torch.int64))


COUNTS = (1, 23)


def one_process(rank, world_size, folder):
    store = f"file://{folder}/store"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=world_size)
    results = [extract_features(Net(), Whole(count), batch_size=4) for count in COUNTS]
    torch.save(results, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_equal_one(tmp_path):
    mp.start_processes(one_process, (2, str(tmp_path)), nprocs=2, start_method="fork")
    for rank in range(2):
        results = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for count, (features, labels) in zip(COUNTS, results, strict=True):
            expected, expected_labels = extract_features(Net(), Whole(count), batch_size=4)
            torch.testing.assert_close(features, expected)
            assert torch.equal(labels, expected_labels)
