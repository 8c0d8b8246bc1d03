"""One-target networks that serve several targets."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class PerTarget(nn.Module):
    """Independent copies of a one-target network, side by side on the targets axis.

    Args:
        network: Builds one network; called once for each target, so each has its own weights.
        targets: Number of targets.

    Shape:
        what the network takes -> (batch, targets, ...) where the network gives (batch, ...).
    """

    def __init__(self, network: Callable[[], nn.Module], *, targets: int) -> None:
        super().__init__()
        self.networks = nn.ModuleList(network() for _ in range(targets))

    def forward(self, *inputs: Tensor) -> Tensor:
        return torch.stack([network(*inputs) for network in self.networks], dim=1)
