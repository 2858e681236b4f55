"""Two gloo processes: AMix's supervised step, and its accuracies, against one process on the joined batch."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope

from ssl_ext.datasets import ArrayDataset
from ssl_ext.engine.hooks.classifier_evaluation import classifier_accuracies
from ssl_ext.registry import MODELS

WORLD, BATCH, CLASSES = 2, 4, 3
CONFIG = dict(
    type="AMix",
    backbone=dict(
        type="ResNet_CIFAR",
        depth=18,
        out_indices=(3,),
        stem_channels=8,
        base_channels=8,
        norm_cfg=dict(type="GN", num_groups=4),  # images are independent
        zero_init_residual=False,
    ),
    head=dict(type="LinearClsHead", num_classes=CLASSES, in_channels=64),
    mix_block=dict(in_channels=32, content="linear"),
    block_head=dict(losses=("ce", "pbce", "bce", "infonce"), mask_labels=True),
    adjust_lam=True,
    momentum=0.9,
    data_preprocessor=dict(type="BaseDataPreprocessor"),
)


def build():
    init_default_scope("ssl_ext")
    torch.manual_seed(0)
    model = MODELS.build(CONFIG)
    model.init_weights()
    for weight in model.mix_block.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    return model.double().train()


def batch(step):
    """Images (WORLD, BATCH, 3, 8, 8) and labels (WORLD, BATCH)."""
    generator = torch.Generator().manual_seed(step)
    images = torch.randn(WORLD, BATCH, 3, 8, 8, dtype=torch.float64, generator=generator)
    return images, torch.randint(CLASSES, (WORLD, BATCH), generator=generator)


def accuracies(count):
    """Accuracies of a new model on ``count`` images; one of three has no label."""
    init_default_scope("ssl_ext")
    torch.manual_seed(1)
    preprocessor = dict(type="MultiViewPreprocessor", mean=[0.5] * 3, std=[0.5] * 3)
    model = MODELS.build(dict(CONFIG, data_preprocessor=preprocessor))
    model.init_weights()
    labels = torch.arange(count) % CLASSES
    labels[1::3] = -1
    images = torch.randint(256, (count, 3, 8, 8), generator=torch.Generator().manual_seed(2))
    data = ArrayDataset(images.to(torch.uint8).numpy(), labels.numpy(), classes=["a", "b", "c"])
    return classifier_accuracies(model.eval(), data, batch_size=3)


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
        images, labels = batch(step)
        data = dict(inputs=[images[rank]], data_samples=dict(labels=labels[rank]))
        saved[step] = dict(wrapped.train_step(data, optimizer))
        model.after_step(step, 10)
    # With one labelled image, one process has none.
    saved.update(
        draws=draws, state=model.state_dict(), accuracies=[accuracies(count) for count in (1, 14, 15)]
    )
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
        images, labels = batch(step)
        data = dict(inputs=[images.flatten(0, 1)], data_samples=dict(labels=labels.flatten()))
        logged = model.train_step(data, optimizer)
        model.after_step(step, 10)
        names = [name for name in logged if name.startswith("loss")]
        assert len(names) == 8  # with their sum
        for name in names:
            for saved in processes:
                torch.testing.assert_close(saved[step][name], logged[name], rtol=1e-7, atol=1e-9, msg=name)
    for name, value in model.state_dict().items():
        for saved in processes:
            torch.testing.assert_close(saved["state"][name], value, rtol=1e-6, atol=1e-8, msg=name)


def test_accuracies_are_those_of_all_images(processes):
    alone = [accuracies(count) for count in (1, 14, 15)]
    assert [saved["accuracies"] for saved in processes] == [alone, alone]
    assert set(alone[0]) == {"plain", "mix", "plain_momentum", "mix_momentum"}
    assert 0 < alone[2]["plain"] < 1
