"""Fixtures of evaluations."""

import pytest
import torch

from ssl_ext.config.networks import random_network


@pytest.fixture
def checkpoint(config, tmp_path):
    """Random weights for the module's ``config``."""
    path = tmp_path / "run" / "epoch_2.pth"
    path.parent.mkdir()
    network = random_network(config, seed=7, device=torch.device("cpu"))
    torch.save({"state_dict": network.state_dict()}, path)
    return path
