"""Two gloo processes: AMix's steps against one process on the joined batch, its accuracies and clusters."""

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from processes import WORLD, results

from ssl_ext.datasets import ArrayDataset
from ssl_ext.engine.hooks.classifier_evaluation import classifier_accuracies
from ssl_ext.models.utils import ClusterBank
from ssl_ext.registry import MODELS

BATCH, SIZE, CLASSES = 4, 40, 3
NORM = dict(type="GN", num_groups=4)  # every image on its own
LOSSES = ("ce", "pbce", "bce", "infonce")
SHARED = dict(
    backbone=dict(
        type="ResNet_CIFAR",
        depth=18,
        out_indices=(3,),
        stem_channels=8,
        base_channels=8,
        norm_cfg=NORM,
        zero_init_residual=False,
    ),
    mix_block=dict(in_channels=32, content="linear"),
    data_preprocessor=dict(type="BaseDataPreprocessor"),
)
CLASSIFIER = dict(
    SHARED,
    type="AMix",
    head=dict(type="LinearClsHead", num_classes=CLASSES, in_channels=64),
    block_head=dict(losses=LOSSES, mask_labels=True),
    adjust_lam=True,
    momentum=0.9,
)
CLUSTERS = dict(
    SHARED,
    type="AMixC",
    neck=dict(
        type="NonLinearNeck",
        in_channels=64,
        hid_channels=8,
        out_channels=4,
        with_avg_pool=False,
        with_last_bn=False,
        norm_cfg=NORM,
    ),
    head=dict(type="AMixHead"),
    block_losses=LOSSES,
    labels=dict(source="pseudo", num_classes=3, interval=2),
    mask_labels=True,
    queue_size=7,
)


def classifier():
    model = MODELS.build(CLASSIFIER)
    model.init_weights()
    for weight in model.mix_block.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    return model.double().train()


def clusters():
    model = MODELS.build(CLUSTERS)
    model.set_dataset_size(SIZE)
    model = model.double().train()
    model.cluster_bank.start(torch.randn(SIZE, 4, dtype=torch.float64))
    return model


BUILD = {"AMix": classifier, "AMixC": clusters}


def build(case):
    init_default_scope("ssl_ext")
    torch.manual_seed(0)
    return BUILD[case]()


def batch(case, step, rank=slice(None)):
    """One view of a classifier or two, labels and dataset rows: of one process or of both, joined."""
    generator = torch.Generator().manual_seed(step)
    shape = (1 if case == "AMix" else 2, WORLD, BATCH, 3, 8, 8)
    images = torch.randn(shape, dtype=torch.float64, generator=generator)[:, rank]
    rows = torch.randperm(SIZE, generator=generator)[: WORLD * BATCH].view(WORLD, BATCH)[rank].flatten()
    samples = dict(indices=rows, labels=rows % CLASSES)
    return dict(inputs=[view.reshape(-1, 3, 8, 8) for view in images], data_samples=samples)


def accuracies(count):
    """Of a fresh model on ``count`` images; one of three has no label."""
    init_default_scope("ssl_ext")
    torch.manual_seed(1)
    preprocessor = dict(type="MultiViewPreprocessor", mean=[0.5] * 3, std=[0.5] * 3)
    model = MODELS.build(dict(CLASSIFIER, data_preprocessor=preprocessor))
    model.init_weights()
    labels = torch.arange(count) % CLASSES
    labels[1::3] = -1
    images = torch.randint(256, (count, 3, 8, 8), generator=torch.Generator().manual_seed(2))
    data = ArrayDataset(images.to(torch.uint8).numpy(), labels.numpy(), classes=["a", "b", "c"])
    return classifier_accuracies(model.eval(), data, batch_size=3)


def steps(case, rank):
    """Random draws and log entries of a process in two steps, and its state after them."""
    model, draws = build(case), []
    real = model.draw

    def draw(count, device):
        lam, permutation = real(count, device)
        draws.append((lam.double(), permutation))
        return draws[-1]

    model.draw = draw
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    wrapped = MMDistributedDataParallel(module=model, broadcast_buffers=False)
    torch.manual_seed(10 + rank)
    logged = []
    for step in (1, 2):
        logged.append(dict(wrapped.train_step(batch(case, step, rank), optimizer)))
        model.after_step(step, 10)
    return dict(draws=draws, logged=logged, state=model.state_dict())


def updated_bank(rank):
    bank = ClusterBank(SIZE, 3, 5, momentum=0.0, min_size=4)
    bank.start(torch.randn(SIZE, 3, generator=torch.Generator().manual_seed(1)) + 100 * rank)
    for step in range(12):
        generator = torch.Generator().manual_seed(100 * rank + step)
        rows = torch.randperm(SIZE, generator=generator)[:5]
        bank.update(rows, torch.randn(5, 3, generator=generator) * torch.tensor([1, 0.1, 0.01]))
        if step % 4 == 3:
            bank.refresh()
    return bank.state_dict()


def work(rank):
    saved = {case: steps(case, rank) for case in BUILD}
    # Of one labelled image a process has none.
    return dict(saved, accuracies=[accuracies(count) for count in (1, 14, 15)], bank=updated_bank(rank))


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    return results(work, tmp_path_factory.mktemp("amix"))


@pytest.mark.parametrize("case", BUILD)
def test_two_processes_take_the_steps_of_one_on_the_joined_batch(case, processes):
    model, both = build(case), [saved[case] for saved in processes]
    pairs = [
        (
            torch.cat([lam for lam, _ in parts]),
            torch.cat([permutation + BATCH * rank for rank, (_, permutation) in enumerate(parts)]),
        )
        for parts in zip(*(saved["draws"] for saved in both), strict=True)
    ]
    assert len(pairs) == 4
    assert not torch.equal(both[0]["draws"][0][0], both[1]["draws"][0][0])
    waiting = iter(pairs)
    model.draw = lambda count, device: next(waiting)
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    for step in (1, 2):
        logged = model.train_step(batch(case, step), optimizer)
        model.after_step(step, 10)
        names = [name for name in logged if name.startswith("loss")]
        assert len(names) >= 6
        for name in names:
            for saved in both:
                found = saved["logged"][step - 1][name]
                # Losses in float32 round to 1.2e-7.
                rtol = 1e-7 if found.dtype == torch.float64 else 5e-7
                torch.testing.assert_close(found, logged[name], rtol=rtol, atol=1e-9, msg=name)
    # Weights after two steps: gradients were right; queues and clusters: every process took all rows.
    for name, value in model.state_dict().items():
        for saved in both:
            torch.testing.assert_close(saved["state"][name], value, rtol=1e-6, atol=1e-8, msg=name)


def test_accuracies_are_those_of_all_images(processes):
    alone = [accuracies(count) for count in (1, 14, 15)]
    assert [saved["accuracies"] for saved in processes] == [alone, alone]
    assert set(alone[0]) == {"plain", "mix", "plain_momentum", "mix_momentum"}
    assert 0 < alone[2]["plain"] < 1


def test_clusters_stay_the_same_on_both_processes(processes):
    first, second = (saved["bank"] for saved in processes)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    assert torch.bincount(first["labels"], minlength=5).min() > 0
