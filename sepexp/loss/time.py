"""Distances between waveforms.

Every loss of the project is a function of (estimate, truth, mixture) that returns one number for
each item and target, lower is better: means over targets, weights and masks are others' work.

Shape:
    estimate, truth: Separation with waveforms (batch, targets, channels, samples);
    mixture (batch, channels, samples) -> (batch, targets).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sepexp.separation import Separation


class L1(nn.Module):
    """Mean absolute error of the waveforms, as Demucs trains with (arXiv 1911.13254)."""

    def forward(self, estimate: Separation, truth: Separation, mixture: Tensor) -> Tensor:
        """(batch, targets)."""
        return (estimate.waveforms - truth.waveforms).abs().mean(dim=(-2, -1))


class MSE(nn.Module):
    """Mean squared error of the waveforms."""

    def forward(self, estimate: Separation, truth: Separation, mixture: Tensor) -> Tensor:
        """(batch, targets)."""
        return (estimate.waveforms - truth.waveforms).square().mean(dim=(-2, -1))


class NegativeSISDR(nn.Module):
    """Minus the scale-invariant SDR in dB (Le Roux et al. 2019, arXiv 1811.02508).

    Args:
        zero_mean: Remove each channel's mean first.
        floor_db: Energies below this level under full scale (1.0) count as this level. A silent
            truth then asks for a silent estimate, with a finite gradient, instead of giving NaN.

    A channel's samples and channels form one vector, so the stereo balance is part of the error.
    """

    def __init__(self, *, zero_mean: bool, floor_db: float) -> None:
        super().__init__()
        self.zero_mean = zero_mean
        self.floor = 10 ** (floor_db / 10)

    def forward(self, estimate: Separation, truth: Separation, mixture: Tensor) -> Tensor:
        """(batch, targets), in dB."""
        guess, true = estimate.waveforms.float(), truth.waveforms.float()
        if self.zero_mean:
            guess = guess - guess.mean(dim=-1, keepdim=True)
            true = true - true.mean(dim=-1, keepdim=True)
        guess, true = guess.flatten(-2), true.flatten(-2)
        floor = self.floor * true.shape[-1]
        gain = (guess * true).sum(-1, keepdim=True) / (true.square().sum(-1, keepdim=True) + floor)
        signal = (gain * true).square().sum(-1) + floor
        error = (guess - gain * true).square().sum(-1) + floor
        return 10 * (torch.log10(error) - torch.log10(signal))
