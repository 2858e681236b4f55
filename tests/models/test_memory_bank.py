"""The memory bank against a dict that is updated one embedding at a time; duplicates, resume, errors."""

import pytest
import torch
import torch.nn.functional as F

from ssl_ext.models.utils import MemoryBank

SIZE, DIM, MOMENTUM = 10, 3, 0.7


def bank(seed=0, **options):
    torch.manual_seed(seed)
    return MemoryBank(SIZE, DIM, **{"momentum": MOMENTUM, **options})


def loop_update(features, indices, embeddings, momentum):
    """Update one image at a time; the last embedding of an image in the batch is used."""
    features = [row.clone() for row in features]
    for index, z in dict(zip(indices.tolist(), embeddings, strict=True)).items():
        mixed = momentum * features[index] + (1 - momentum) * z / z.norm()
        features[index] = mixed / mixed.norm()
    return torch.stack(features)


def test_starts_with_random_unit_vectors():
    features = bank().features
    torch.testing.assert_close(features.norm(dim=1), torch.ones(SIZE))
    assert (features @ features.T).fill_diagonal_(0).abs().max() < 1
    assert not torch.equal(features, bank(seed=1).features)


@pytest.mark.parametrize("indices", [[4], [7, 0, 3], [2, 2], [5, 1, 5, 9, 1, 5], [*range(SIZE)] * 3])
def test_update_equals_a_loop_in_which_the_last_of_the_duplicates_counts(indices):
    memory, indices = bank(), torch.tensor(indices)
    for seed in range(3):
        embeddings = torch.randn(len(indices), DIM, generator=torch.manual_seed(seed)) * 5
        expected = loop_update(memory.features, indices, embeddings, MOMENTUM)
        memory.update(indices, embeddings)
        torch.testing.assert_close(memory.features, expected)
        untouched = [row for row in range(SIZE) if row not in indices]
        assert torch.equal(memory.features[untouched], bank().features[untouched])


def test_without_momentum_an_entry_is_the_last_embedding():
    memory, embeddings = bank(momentum=0), torch.randn(4, DIM)
    memory.update(torch.tensor([3, 1, 1, 8]), embeddings)
    torch.testing.assert_close(memory.features[[3, 1, 8]], F.normalize(embeddings[[0, 2, 3]], dim=1))


def test_many_equal_updates_approach_the_embedding_as_the_closed_form_says():
    memory = bank()
    memory.features[0] = torch.tensor([1.0, 0, 0])
    for _ in range(4):
        memory.update(torch.tensor([0]), torch.tensor([[0.0, 2, 0]]))
    # Each step turns tan(angle to the embedding) t into m·t / (m·c + 1 − m), c the cosine; iterate on angles.
    x, y = 1.0, 0.0
    for _ in range(4):
        x, y = MOMENTUM * x, MOMENTUM * y + 1 - MOMENTUM
        x, y = x / (x * x + y * y) ** 0.5, y / (x * x + y * y) ** 0.5
    torch.testing.assert_close(memory.features[0], torch.tensor([x, y, 0.0]))


def test_update_takes_any_precision_and_leaves_no_graph():
    memory, embeddings = bank(), torch.randn(2, DIM, requires_grad=True)
    memory.update(torch.tensor([0, 1]), embeddings.bfloat16())
    assert memory.features.dtype == torch.float32
    assert not memory.features.requires_grad
    before = memory.features.clone()
    memory.update(torch.tensor([], dtype=torch.long), torch.empty(0, DIM))
    assert torch.equal(memory.features, before)


def test_state_dict_carries_the_content():
    first, second = bank(), bank(seed=1)
    first.update(torch.tensor([1, 2]), torch.randn(2, DIM))
    second.load_state_dict(first.state_dict())
    for memory in (first, second):
        memory.update(torch.tensor([2, 3]), torch.eye(3)[:2])
    assert torch.equal(first.features, second.features)


@pytest.mark.parametrize("indices", [[0, SIZE], [-1, 3]])
def test_indices_out_of_range_are_named(indices):
    with pytest.raises(IndexError, match=f"from {indices[0]} to {indices[1]} reached a memory bank of 10"):
        bank().check(torch.tensor(indices))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(size=0, dim=3), "size of a memory bank is 0"),
        (dict(size=3, dim=0), "dim of a memory bank is 0"),
        (dict(size=3, dim=2, momentum=1), "model.bank_momentum is 1; it must be at least 0 and below 1"),
        (dict(size=3, dim=2, momentum=-0.1), "model.bank_momentum is -0.1"),
    ],
)
def test_bad_sizes_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MemoryBank(**options)
