"""Two gloo processes against one process on the joined batch: values and gradients."""

import pytest
import torch
from processes import WORLD, results
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ssl_ext.losses import (
    all_reduce_mean,
    all_reduce_sum,
    barlow_twins_terms,
    gather,
    self_consistency_loss,
    standardize,
    trimix_terms,
    virtual_embedding_terms,
    virtual_targets,
    world_size,
)

BATCH, DIMS = 5, 4
LAM, TEMPERATURE = 0.3, 0.2


def inputs():
    """Embeddings z1, z2 and z_virtual of both processes, (3, WORLD, BATCH, DIMS)."""
    z = torch.randn(3, WORLD, BATCH, DIMS, dtype=torch.float64, generator=torch.manual_seed(0))
    z[:, 1] = 3 * z[:, 1] + 2  # processes with different statistics
    return z


def total(terms):
    return terms.invariance + 0.5 * terms.redundancy + 40 * terms.virtual + 3 * terms.consistency


def network():
    torch.manual_seed(1)
    return nn.Linear(DIMS, 6, dtype=torch.float64)


def network_loss(net, z):
    return total(trimix_terms(net(z[0]), net(z[1]), net(z[2]), LAM, temperature=TEMPERATURE))


def work(rank):
    """Compute and save the results of one process."""
    z = inputs()[:, rank].clone().requires_grad_()
    saved = {"world_size": world_size()}

    def save(name, values, scalar):
        (gradient,) = torch.autograd.grad(scalar, z)
        saved[name] = [value.detach() for value in values]
        saved[f"{name} gradient"] = gradient

    invariance, redundancy = barlow_twins_terms(z[0], z[1])
    save("barlow_twins", [invariance, redundancy], invariance + 0.5 * redundancy)
    virtual, p_lam, p_complement = virtual_embedding_terms(z[0], z[2], LAM, temperature=TEMPERATURE)
    consistency = self_consistency_loss(z[0], z[2], LAM)
    save("separate", [virtual, consistency, p_lam, p_complement], 40 * virtual + 3 * consistency)
    terms = trimix_terms(z[0], z[1], z[2], LAM, temperature=TEMPERATURE)
    save("joined", list(terms), total(terms))
    save("standardize", [standardize(z[0])], standardize(z[0]).pow(3).sum())
    # Functions of all processes' values whose gradients are known in closed form.
    save("sum", [all_reduce_sum(z[0])], all_reduce_sum(z[0]).square().sum())
    save("mean", [all_reduce_mean(z[0])], all_reduce_mean(z[0]).square().sum())
    save("gather", [gather(z[0])], (gather(z[0]).T @ gather(z[0])).sum())
    save("rank's own part", [], (rank + 1) * gather(z[0]).sum())
    double = torch.autograd.grad(all_reduce_sum(z[0]).pow(3).sum(), z, create_graph=True)[0]
    save("second derivative", [], double[0].sum())

    net = DistributedDataParallel(network())
    loss = network_loss(net, z.detach())
    loss.backward()
    saved["net loss"] = loss.detach()
    saved["net gradient"] = [parameter.grad for parameter in net.parameters()]
    if rank == 0:
        try:
            virtual_targets(1, LAM)
        except ValueError as error:
            saved["error"] = str(error)
    one_each = standardize(torch.full((1, 2), float(rank)))
    saved["one each"] = one_each
    return saved


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gloo")
    return results(work, folder)


def reference(z):
    """One process on the joined batch, the flip done block by block (z: (3, WORLD, BATCH, D))."""
    joined = [view.flatten(0, 1) for view in z]
    invariance, redundancy = barlow_twins_terms(joined[0], joined[1])
    blocks = [standardize(view).unflatten(0, (WORLD, BATCH)) for view in (joined[0], joined[2])]
    virtual, consistency, p_lam, p_complement = [], [], [], []
    for rows, columns in zip(*blocks, strict=True):
        centred = columns - columns.mean(1, keepdim=True)
        columns = centred / (columns.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
        cosine = torch.cosine_similarity(rows[:, None], columns[None], dim=2, eps=0)
        p = (cosine / TEMPERATURE).softmax(1)
        identity = torch.eye(BATCH, dtype=z.dtype)
        targets = LAM * identity + (1 - LAM) * identity.flip(0)
        virtual.append((p - targets).abs().mean())
        consistency.append((LAM * rows + (1 - LAM) * rows.flip(0) - columns).abs().mean())
        p_lam.append(p.diagonal().mean())
        p_complement.append(p.fliplr().diagonal().mean())
    means = [sum(v) / WORLD for v in (virtual, consistency, p_lam, p_complement)]
    return [invariance, redundancy, *means]


def check(processes, name, values, scalar, z):
    """Every process must have the value, and W times the gradient of the joined batch."""
    gradient = torch.autograd.grad(scalar, z, retain_graph=True)[0]
    for rank, saved in enumerate(processes):
        for found, expected in zip(saved[name], values, strict=True):
            torch.testing.assert_close(found, expected.detach(), rtol=0, atol=1e-10, msg=name)
        found = saved[f"{name} gradient"] / WORLD
        torch.testing.assert_close(found, gradient[:, rank], rtol=0, atol=1e-10, msg=name)


def test_losses_equal_one_process_on_the_joined_batch(processes):
    z = inputs().requires_grad_()
    invariance, redundancy, virtual, consistency, p_lam, p_complement = reference(z)
    bt, mixed = invariance + 0.5 * redundancy, 40 * virtual + 3 * consistency
    check(processes, "barlow_twins", [invariance, redundancy], bt, z)
    check(processes, "separate", [virtual, consistency, p_lam, p_complement], mixed, z)
    everything = [invariance, redundancy, virtual, consistency, p_lam, p_complement]
    check(processes, "joined", everything, bt + mixed, z)


def test_standardize_uses_the_joined_batch(processes):
    joined = inputs()[0].flatten(0, 1)
    mean, std = joined.mean(0), (joined.var(0, correction=0) + 1e-5).sqrt()
    for rank, saved in enumerate(processes):
        expected = (inputs()[0, rank] - mean) / std
        torch.testing.assert_close(saved["standardize"][0], expected, rtol=0, atol=1e-12)
    assert torch.allclose(processes[1]["one each"], torch.ones(1, 2), atol=1e-4)


def test_standardize_gradient_is_the_sum_over_processes(processes):
    z = inputs()[0].requires_grad_()
    standardize(z.flatten(0, 1)).pow(3).sum().backward()  # the sum over both processes
    for rank, saved in enumerate(processes):
        torch.testing.assert_close(saved["standardize gradient"][0], z.grad[rank], rtol=0, atol=1e-10)


def test_collectives(processes):
    z = inputs()[0]
    everyone = z.flatten(0, 1)
    for rank, saved in enumerate(processes):
        assert saved["world_size"] == WORLD
        assert torch.equal(saved["gather"][0], everyone)
        torch.testing.assert_close(saved["sum"][0], z.sum(0))
        torch.testing.assert_close(saved["mean"][0], z.mean(0))
        # W copies of the scalar (Σz)², each with derivative 2 Σz; the mean has 1/W twice.
        torch.testing.assert_close(saved["sum gradient"][0], WORLD * 2 * z.sum(0))
        torch.testing.assert_close(saved["mean gradient"][0], 2 * z.mean(0))
        expected = WORLD * 2 * everyone.sum(1)[rank * BATCH : (rank + 1) * BATCH, None]
        torch.testing.assert_close(saved["gather gradient"][0], expected.expand(BATCH, DIMS))
        # Rank r uses the rows with factor r + 1: each row receives 1 + 2.
        torch.testing.assert_close(
            saved["rank's own part gradient"][0], torch.full((BATCH, DIMS), 3.0).double()
        )
        # Σ_ranks of 3 s² has second derivative W · 6 s on each rank, summed over W ranks.
        torch.testing.assert_close(saved["second derivative gradient"][0], WORLD * WORLD * 6 * z.sum(0))


def test_ddp_parameter_gradient_equals_one_process(processes):
    net, z = network(), inputs()
    terms = reference(net(z.flatten(0, 2)).unflatten(0, (3, WORLD, BATCH)))
    loss = terms[0] + 0.5 * terms[1] + 40 * terms[2] + 3 * terms[3]
    loss.backward()
    for saved in processes:
        torch.testing.assert_close(saved["net loss"], loss.detach(), rtol=0, atol=1e-9)
        for found, parameter in zip(saved["net gradient"], net.parameters(), strict=True):
            torch.testing.assert_close(found, parameter.grad, rtol=0, atol=1e-9)


def test_mixing_one_sample_per_process_is_refused(processes):
    assert "each process needs at least 2" in processes[0]["error"]


def test_without_process_group_the_collectives_return_their_argument():
    x = torch.randn(3, 2)
    assert all(f(x) is x for f in (all_reduce_sum, all_reduce_mean, gather))
