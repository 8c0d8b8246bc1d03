"""The bounded SDR of a target and of the rest (Choi et al., arXiv 1903.03107), used by X-UMX."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sepexp.separation import Separation


class WeightedSDR(nn.Module):
    """Minus the cosine between estimate and target, and between mixture minus either.

    Both are weighted by the energies of target and rest. From -1 (perfect) to 1; a constant where
    everything is silent. Reads waveforms.
    """

    def forward(self, estimate: Separation, truth: Separation, mixture: Tensor) -> Tensor:
        """(batch, targets)."""
        guess, true = estimate.waveforms.flatten(2), truth.waveforms.flatten(2)
        whole = mixture.flatten(1)[:, None]
        energy, rest = true.square().sum(-1), (whole - true).square().sum(-1)
        weight = energy / (energy + rest).clamp_min(1e-12)
        return -weight * cosine(guess, true) - (1 - weight) * cosine(whole - guess, whole - true)


def cosine(left: Tensor, right: Tensor) -> Tensor:
    """Cosine of the angle between the last axes, 0 where one of them is zero."""
    product = (left * right).sum(-1)
    size = (left.square().sum(-1) * right.square().sum(-1) + 1e-12).sqrt()
    return product / torch.clamp(size, min=1e-6)
