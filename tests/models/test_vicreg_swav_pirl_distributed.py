"""Two gloo processes against one on the joined batch: VICReg, SwAV, PIRL and the memory bank."""

import torch
import torch.nn.functional as F
from processes import WORLD, results

from ssl_ext.losses import pirl_terms, swapped_prediction_loss, vicreg_terms
from ssl_ext.models.utils import MemoryBank

BATCH, DIM, BANK = 4, 5, 12


def inputs():
    """z1, z2 and prototypes' scores of both processes, a bank, and image indices with duplicates."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(3, WORLD, BATCH, DIM, dtype=torch.float64, generator=generator)
    z[:, 1] = 2 * z[:, 1] + 1  # processes with different statistics
    bank = MemoryBank(BANK, DIM, momentum=0.5).double()
    bank.features.copy_(F.normalize(torch.randn(BANK, DIM, generator=generator), dim=1))
    return z, bank, torch.tensor([[3, 0, 3, 7], [7, 1, 0, 11]])


def losses(z, bank, indices):
    """Values and the scalars that are differentiated, of the rows at hand (z: (3, N, D))."""
    vicreg = torch.stack(vicreg_terms(z[0], z[1]))
    swav = swapped_prediction_loss(*z.tanh(), epsilon=0.1, iterations=2)
    drawn = torch.tensor([3, 1, 5, 0, 8])
    memory = bank.features[indices]
    excluded = indices[:, None] == drawn
    pirl = torch.stack(
        pirl_terms(z[0], z[2], memory, bank.features[drawn], excluded=excluded, temperature=0.3)
    )
    weights = torch.tensor([2.0, 3, 0.5]).double()
    return {
        "vicreg": (vicreg, (vicreg * weights).sum()),
        "swav": (swav, swav),
        "pirl": (pirl, pirl[0] + 2 * pirl[1]),
    }


def work(rank):
    """Results of one process, saved for the test."""
    z, bank, indices = inputs()
    z = z[:, rank].clone().requires_grad_()
    saved = {}
    for name, (value, scalar) in losses(z, bank, indices[rank]).items():
        saved[name] = value.detach()
        saved[f"{name} gradient"] = torch.autograd.grad(scalar, z)[0]
    bank.update(indices[rank], z[0])
    return dict(saved, bank=bank.features)


def test_values_gradients_and_bank(tmp_path):
    processes = results(work, tmp_path)
    z, bank, indices = inputs()
    z = z.flatten(1, 2).requires_grad_()
    joined = losses(z, bank, indices.flatten())
    bank.update(indices.flatten(), z[0])
    for rank, saved in enumerate(processes):
        torch.testing.assert_close(saved["bank"], bank.features)
        for name, (value, scalar) in joined.items():
            (gradient,) = torch.autograd.grad(scalar, z, retain_graph=True)
            expected = gradient.unflatten(1, (WORLD, BATCH))[:, rank]
            torch.testing.assert_close(saved[name], value.detach(), rtol=0, atol=1e-10, msg=name)
            torch.testing.assert_close(
                saved[f"{name} gradient"] / WORLD, expected, rtol=0, atol=1e-10, msg=name
            )
