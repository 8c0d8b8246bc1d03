"""Rows for the question of phase: the true magnitude with three different phases."""

from __future__ import annotations

import torch
from torch import Tensor

from sepexp.baseline.masks import ZeroPaddedSTFT
from sepexp.errors import UserError
from sepexp.separation import Separation

PHASES = ("mixture", "griffin_lim", "true")


class TrueMagnitude:
    """The true magnitude of every target with the phase that a magnitude method could give it.

    "mixture" is the phase that most spectrogram methods take, "griffin_lim" is found from the
    magnitude by alternating projections (Griffin and Lim 1984), started from the mixture's phase,
    and "true" gives back the target itself, which proves the path.

    Args:
        phase: "mixture", "griffin_lim" or "true".
        iterations: Of Griffin-Lim.
        n_fft, hop: In samples. A hop of a quarter frame, because at half overlap there are no more
            magnitudes than samples and they don't determine a signal.

    Shape:
        mixture (batch, channels, samples), truth (batch, targets, channels, samples)
        -> waveforms like the truth.
    """

    def __init__(
        self, *, phase: str, iterations: int = 32, n_fft: int = 2048, hop: int = 512
    ) -> None:
        if phase not in PHASES:
            raise UserError(f"phase is {phase!r}: expected one of {', '.join(PHASES)}")
        self.phase, self.iterations = phase, iterations
        self.stft = ZeroPaddedSTFT(n_fft=n_fft, hop=hop)

    @torch.no_grad()
    def __call__(self, mixture: Tensor, truth: Tensor) -> Separation:
        samples = mixture.shape[-1]
        direction = _direction(self.stft.analyse(mixture))
        estimates = []
        for target in truth.unbind(1):
            spectrum = self.stft.analyse(target)
            if self.phase != "true":
                spectrum = spectrum.abs() * direction
            if self.phase == "griffin_lim":
                magnitude = spectrum.abs()
                for _ in range(self.iterations):
                    again = self.stft.analyse(self.stft.synthesise(spectrum, samples))
                    spectrum = magnitude * _direction(again)
            estimates.append(self.stft.synthesise(spectrum, samples))
        return Separation(torch.stack(estimates, 1))


def _direction(spectrum: Tensor) -> Tensor:
    """The spectrum's phase as complex numbers of magnitude one, 1 where it is zero."""
    return torch.polar(torch.ones_like(spectrum.abs()), spectrum.angle())
