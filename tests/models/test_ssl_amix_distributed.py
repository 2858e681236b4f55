"""Two gloo processes: AMix's step against one process on the joined batch; equal clusters on both."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope

from ssl_ext.models.utils import ClusterBank
from ssl_ext.registry import MODELS

WORLD, BATCH, SIZE = 2, 4, 40
NORM = dict(type="GN", num_groups=4)  # images are independent
CONFIG = dict(
    type="AMixC",
    backbone=dict(
        type="ResNet_CIFAR",
        depth=18,
        out_indices=(3,),
        stem_channels=8,
        base_channels=8,
        norm_cfg=NORM,
        zero_init_residual=False,
    ),
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
    block_losses=("ce", "pbce", "bce", "infonce"),
    labels=dict(source="pseudo", num_classes=3, interval=2),
    mask_labels=True,
    mix_block=dict(in_channels=32, content="linear"),
    queue_size=7,
    data_preprocessor=dict(type="BaseDataPreprocessor"),
)


def build():
    init_default_scope("ssl_ext")
    torch.manual_seed(0)
    model = MODELS.build(CONFIG)
    model.set_dataset_size(SIZE)
    model = model.double().train()
    model.cluster_bank.start(torch.randn(SIZE, 4, dtype=torch.float64))
    return model


def batch(step):
    """Views (2, WORLD, BATCH, 3, 8, 8) and dataset rows (WORLD, BATCH)."""
    generator = torch.Generator().manual_seed(step)
    images = torch.randn(2, WORLD, BATCH, 3, 8, 8, dtype=torch.float64, generator=generator)
    return images, torch.randperm(SIZE, generator=generator)[: WORLD * BATCH].view(WORLD, BATCH)


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=WORLD)
    model, draws, saved = build(), [], {}
    real = model.draw

    def draw(count, device):
        lam, permutation = real(count, device)
        draws.append((lam.double(), permutation))
        return draws[-1]

    model.draw = draw
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    wrapped = MMDistributedDataParallel(module=model, broadcast_buffers=False)
    torch.manual_seed(10 + rank)
    for step in (1, 2):
        images, rows = batch(step)
        data = dict(inputs=list(images[:, rank]), data_samples=dict(indices=rows[rank]))
        saved[step] = dict(wrapped.train_step(data, optimizer))
        model.after_step(step, 10)
    saved.update(draws=draws, state=model.state_dict())

    bank = ClusterBank(SIZE, 3, 5, momentum=0.0, min_size=4)
    bank.start(torch.randn(SIZE, 3, generator=torch.Generator().manual_seed(1)) + 100 * rank)
    for step in range(12):
        generator = torch.Generator().manual_seed(100 * rank + step)
        rows = torch.randperm(SIZE, generator=generator)[:5]
        bank.update(rows, torch.randn(5, 3, generator=generator) * torch.tensor([1, 0.1, 0.01]))
        if step % 4 == 3:
            bank.refresh()
    saved["bank"] = bank.state_dict()
    torch.save(saved, f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("amix")
    mp.spawn(work, args=(str(folder),), nprocs=WORLD)
    return [torch.load(folder / f"{rank}.pt") for rank in range(WORLD)]


def test_two_processes_take_the_steps_of_one_on_the_joined_batch(processes):
    model = build()
    pairs = [
        (
            torch.cat([lam for lam, _ in parts]),
            torch.cat([permutation + BATCH * rank for rank, (_, permutation) in enumerate(parts)]),
        )
        for parts in zip(*(saved["draws"] for saved in processes), strict=True)
    ]
    assert len(pairs) == 4
    assert not torch.equal(processes[0]["draws"][0][0], processes[1]["draws"][0][0])
    waiting = iter(pairs)
    model.draw = lambda count, device: next(waiting)
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    for step in (1, 2):
        images, rows = batch(step)
        data = dict(inputs=list(images.flatten(1, 2)), data_samples=dict(indices=rows.flatten()))
        logged = model.train_step(data, optimizer)
        model.after_step(step, 10)
        for name, value in logged.items():
            if name.startswith("loss"):
                for saved in processes:
                    torch.testing.assert_close(saved[step][name], value, rtol=1e-7, atol=1e-9, msg=name)
    # Equal weights after two steps need equal gradients; queues and clusters contain rows of all processes.
    for name, value in model.state_dict().items():
        for saved in processes:
            torch.testing.assert_close(saved["state"][name], value, rtol=1e-6, atol=1e-8, msg=name)


def test_clusters_stay_the_same_on_both_processes(processes):
    first, second = (saved["bank"] for saved in processes)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    assert torch.bincount(first["labels"], minlength=5).min() > 0
