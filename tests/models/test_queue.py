"""The queue against a Python list that drops its oldest entries."""

import pytest
import torch

from ssl_ext.models.utils import Queue


def numbered(*numbers):
    """Rows that are identified by their number."""
    return torch.tensor(numbers, dtype=torch.float32)[:, None].repeat(1, 2)


def oldest_first(queue):
    """Content, oldest first."""
    return queue.features.roll(-int(queue.pointer), 0)[:, 0].tolist()


@pytest.mark.parametrize("size", [1, 5, 8])
@pytest.mark.parametrize("batches", [(1,) * 12, (3, 3, 3, 3), (2, 5, 1, 7, 4), (8, 8), (20, 3), (5, 0, 4)])
def test_equals_a_list_of_the_last_entries(size, batches):
    queue = Queue(size, 2)
    model, count = queue.features[:, 0].tolist(), 0
    for batch in batches:
        numbers = range(100 + count, 100 + count + batch)
        queue.enqueue(numbered(*numbers) if batch else torch.empty(0, 2))
        model = (model + [float(number) for number in numbers])[-size:]
        count += batch
        assert oldest_first(queue) == model
        assert queue.pointer == count % size


def test_starts_with_unit_vectors_that_differ():
    features = Queue(50, 8).features
    torch.testing.assert_close(features.norm(dim=1), torch.ones(50))
    assert len(features.unique(dim=0)) == 50


def test_a_snapshot_stays_when_the_queue_goes_on():
    queue = Queue(4, 2)
    snapshot = queue.snapshot()
    before = queue.features.clone()
    queue.enqueue(numbered(1, 2, 3))
    assert torch.equal(snapshot, before) and not torch.equal(queue.features, before)


def test_keeps_no_graph():
    queue = Queue(4, 2)
    queue.enqueue(numbered(1, 2).requires_grad_())
    assert not queue.features.requires_grad
    queue.enqueue(numbered(3).double())
    assert queue.features.dtype == torch.float32 and oldest_first(queue)[-3:] == [1, 2, 3]


def test_goes_on_from_a_state_dict():
    queue = Queue(5, 2)
    queue.enqueue(numbered(1, 2, 3))
    resumed = Queue(5, 2)
    resumed.load_state_dict(queue.state_dict())
    for one in (queue, resumed):
        one.enqueue(numbered(4, 5, 6, 7))
    assert torch.equal(queue.features, resumed.features)
    assert oldest_first(resumed) == [3, 4, 5, 6, 7] and resumed.pointer == queue.pointer == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 4), "model.queue_size is 0; it must be at least 1"),
        ((2.5, 4), "model.queue_size is 2.5"),
        ((8, None), "model.neck.out_channels is None; it must be at least 1"),
    ],
)
def test_bad_sizes_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Queue(*arguments)
