"""Distances between spectra: of the waveforms, or those that a model itself estimates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sepexp.dsp.stft import STFT
from sepexp.separation import Separation


def _error(difference: Tensor, power: int) -> Tensor:
    """Mean over all but batch and targets of |difference| or its square."""
    size = difference.abs()
    return (size if power == 1 else size.square()).flatten(2).mean(-1)


class _OnWaveforms(nn.Module):
    """STFTs at one or several resolutions, of estimate and truth alike."""

    def __init__(self, *, n_ffts: Sequence[int], overlap: int, power: int) -> None:
        super().__init__()
        if power not in (1, 2):
            raise ValueError(f"power is {power}: expected 1 (absolute) or 2 (squared)")
        self.power = power
        self.stfts = nn.ModuleList(STFT(n_fft=n, hop=n // overlap) for n in n_ffts)

    def distance(self, estimate: Tensor, truth: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, estimate: Separation, truth: Separation, mixture: Tensor) -> Tensor:
        """(batch, targets): the mean over the resolutions."""
        losses = [
            self.distance(stft.analyse(estimate.waveforms), stft.analyse(truth.waveforms))
            for stft in self.stfts
        ]
        return torch.stack(losses).mean(0)


class MagnitudeDistance(_OnWaveforms):
    """Mean error of STFT magnitudes of the waveforms, averaged over resolutions.

    Args:
        n_ffts: Frame lengths in samples, one for each resolution.
        overlap: Frame length over hop.
        power: 1 for the absolute, 2 for the squared error.
        log: Compare log(1 + 1000 |X|), which weighs quiet parts as the ear does.

    Magnitudes are divided by the square root of the frame length, so resolutions weigh alike.
    """

    def __init__(self, *, n_ffts: Sequence[int], overlap: int, power: int, log: bool) -> None:
        super().__init__(n_ffts=n_ffts, overlap=overlap, power=power)
        self.log = log

    def distance(self, estimate: Tensor, truth: Tensor) -> Tensor:
        """Complex spectra (batch, targets, channels, freq, frames) -> (batch, targets)."""
        scale = (2 * (truth.shape[-2] - 1)) ** -0.5
        # |x| has no gradient at 0; the tiny constant keeps silence from making NaN
        guess, true = ((x.abs().square() + 1e-14).sqrt() * scale for x in (estimate, truth))
        if self.log:
            guess, true = torch.log1p(1000 * guess), torch.log1p(1000 * true)
        return _error(guess - true, self.power)


class ComplexDistance(_OnWaveforms):
    """Mean error of the real and imaginary parts of the STFT of the waveforms."""

    def distance(self, estimate: Tensor, truth: Tensor) -> Tensor:
        """Complex spectra (batch, targets, channels, freq, frames) -> (batch, targets)."""
        scale = (2 * (truth.shape[-2] - 1)) ** -0.5
        return _error(torch.view_as_real(estimate - truth) * scale, self.power)


class SpectraDistance(nn.Module):
    """Mean error in the spectra that the model itself estimates.

    Open-Unmix trains on the squared error of magnitudes, the spectrogram U-Nets on the absolute.

    Args:
        power: 1 for the absolute, 2 for the squared error.
        magnitude: Compare magnitudes even where the model estimates complex spectra.

    Raises:
        ValueError: The model estimates no spectra. Preflight says so before the first step.
    """

    needs_spectra = True
    needs_waveforms = False

    def __init__(self, *, power: int, magnitude: bool) -> None:
        super().__init__()
        self.power, self.magnitude = power, magnitude

    def forward(self, estimate: Separation, truth: Separation, mixture: Tensor) -> Tensor:
        """(batch, targets)."""
        if estimate.spectra is None or truth.spectra is None:
            raise ValueError("this loss compares spectra, but the model estimates waveforms only")
        guess, true = estimate.spectra, truth.spectra
        if self.magnitude and guess.is_complex():
            guess, true = ((x.abs().square() + 1e-14).sqrt() for x in (guess, true))
        difference = guess - true
        if difference.is_complex():
            difference = torch.view_as_real(difference)
        return _error(difference, self.power)
