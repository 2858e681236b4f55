"""Two gloo processes against one on the joined batch: losses, gradients and targets after a step."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch.nn.parallel import DistributedDataParallel

from ssl_ext.apis import build_model
from ssl_ext.losses import cosine_regression

WORLD, BATCH = 2, 3
ALGORITHMS = ("BYOL", "SimSiam", "Cross", "TriBYOL")


def build(config, algorithm):
    """A float64 model without batch normalisation."""
    init_default_scope("ssl_ext")
    config = Config(config)
    config.model.type = algorithm
    norm = dict(type="GN", num_groups=4)
    config.model.backbone.norm_cfg = config.model.neck.norm_cfg = config.model.predictor.norm_cfg = norm
    config.model.data_preprocessor = dict(type="BaseDataPreprocessor")  # views are passed unchanged
    torch.manual_seed(0)
    return build_model(config).double().train()


def views(count):
    """Views of every process's images, (count, WORLD, BATCH, 3, 8, 8)."""
    shape = (count, WORLD, BATCH, 3, 8, 8)
    return torch.randn(shape, dtype=torch.float64, generator=torch.manual_seed(1))


def embeddings():
    """Predictions and targets of both processes, (2, WORLD, BATCH, 5)."""
    return torch.randn(2, WORLD, BATCH, 5, dtype=torch.float64, generator=torch.manual_seed(2))


def step(model, images):
    """One optimiser step with EMA; returns losses, gradients and the weights of every copy."""
    inner = getattr(model, "module", model)
    losses = model(list(images), None, mode="loss")
    sum(losses.values()).backward()
    gradients = {name: p.grad for name, p in inner.named_parameters() if p.requires_grad}
    torch.optim.SGD(inner.parameters(), lr=0.1).step()
    inner.after_step(1, 10)
    copies = {name: p.detach() for name, p in inner.named_parameters() if not p.requires_grad}
    return dict(losses={k: v.detach() for k, v in losses.items()}, gradients=gradients, copies=copies)


def work(rank, folder, config):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=WORLD)
    prediction, target = embeddings()[:, rank]
    prediction.requires_grad_()
    loss = cosine_regression(prediction, target)
    saved = dict(loss=loss.detach(), gradient=torch.autograd.grad(loss, prediction)[0])
    for algorithm in ALGORITHMS:
        model = build(config, algorithm)
        images = views(model.num_views)[:, rank]
        saved[algorithm] = step(DistributedDataParallel(model), images)
    torch.save(saved, f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture
def config(prediction_config):
    return prediction_config("BYOL").to_dict()


@pytest.fixture
def processes(config, tmp_path):
    mp.spawn(work, args=(str(tmp_path), config), nprocs=WORLD)
    return [torch.load(tmp_path / f"{rank}.pt") for rank in range(WORLD)]


def test_two_processes_equal_one(config, processes):
    prediction, target = embeddings().flatten(1, 2)
    loss = cosine_regression(prediction.requires_grad_(), target)
    loss.backward()
    for rank, saved in enumerate(processes):
        torch.testing.assert_close(saved["loss"], loss.detach(), rtol=0, atol=1e-12)
        # Backward sums over the processes; DDP's average divides by their number.
        expected = prediction.grad.unflatten(0, (WORLD, BATCH))[rank]
        torch.testing.assert_close(saved["gradient"] / WORLD, expected, rtol=0, atol=1e-12)
    for algorithm in ALGORITHMS:
        model = build(config, algorithm)
        expected = step(model, views(model.num_views).flatten(1, 2))
        for saved in processes:
            for kind, values in expected.items():
                assert saved[algorithm][kind].keys() == values.keys()
                for name, value in values.items():
                    message = f"{algorithm}: {kind} {name}"
                    found = saved[algorithm][kind][name]
                    torch.testing.assert_close(found, value, rtol=0, atol=1e-9, msg=message)
