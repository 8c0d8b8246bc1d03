"""The loss that also drives every estimate away from the other targets (arXiv 1502.04149)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sepexp.errors import UserError
from sepexp.separation import Separation


class Discriminative(nn.Module):
    """Distance to the own target minus gamma times the distances to all others, on magnitudes.

    Args:
        gamma: Weight of the others, 0 for the plain distance; 0.05 in the paper. With
            gamma x (targets - 1) >= 1 the loss has no lower bound.
        divergence: False: mean squared error; True: generalised Kullback-Leibler divergence.

    Raises:
        UserError: The loss would have no lower bound, or the model estimates no spectra.
    """

    needs_spectra = True
    needs_waveforms = False

    def __init__(self, *, gamma: float, divergence: bool) -> None:
        super().__init__()
        if not 0 <= gamma < 1:
            raise UserError(f"gamma is {gamma}: expected 0 (plain distance) to 1, at best 0.05")
        self.gamma, self.divergence = gamma, divergence

    def forward(self, estimate: Separation, truth: Separation, mixture: Tensor) -> Tensor:
        """(batch, targets)."""
        if estimate.spectra is None or truth.spectra is None:
            raise UserError(
                "the loss discriminative reads spectra and this model estimates none: "
                "choose a spectrogram model, or loss=l1"
            )
        guess, true = estimate.spectra.abs(), truth.spectra.abs()
        targets = true.shape[1]
        if self.gamma * (targets - 1) >= 1:
            raise UserError(
                f"gamma {self.gamma} with {targets} targets has no lower bound: "
                f"choose less than {1 / (targets - 1):.3f}"
            )
        own = self.distance(guess, true)
        if self.gamma == 0:
            return own
        others = [self.distance(guess, true.roll(step, dims=1)) for step in range(1, targets)]
        return own - self.gamma * torch.stack(others).sum(0)

    def distance(self, guess: Tensor, true: Tensor) -> Tensor:
        """(batch, targets, channels, freq, frames) twice -> (batch, targets)."""
        if not self.divergence:
            return (guess - true).square().flatten(2).mean(-1)
        floor = 1e-3  # the logarithm of silence would rule the mean
        ratio = ((true + floor) / (guess + floor)).log()
        return ((true + floor) * ratio - true + guess).flatten(2).mean(-1)
