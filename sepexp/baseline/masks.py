"""Oracles: what a mask on the mixture's STFT could reach if it knew the truth.

They use the STFT of the published oracle rows of MUSDB18: a periodic Hann window of 2048 samples,
half overlapped, zeros beyond both ends, every channel by itself (sigsep-mus-oracle, SiSEC 2018,
arXiv 1804.06267). What the targets leave of the mixture counts as one more source, so an oracle
for the vocals alone sees the accompaniment too.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from sepexp.dsp.stft import STFT
from sepexp.separation import Separation

EPS = 2.0**-52  # of the published code, which works in float64; float32 holds it as well


class ZeroPaddedSTFT:
    """An STFT pair that sees zeros beyond both ends of the signal, as SciPy's does.

    Shape:
        analyse: (..., samples) -> complex (..., freq, frames); synthesise: the reverse.
    """

    def __init__(self, *, n_fft: int, hop: int) -> None:
        self.pair = STFT(n_fft=n_fft, hop=hop)
        self.pad = -(-n_fft // hop) * hop  # a multiple of the hop keeps frames on the same samples

    def analyse(self, waveform: Tensor) -> Tensor:
        self.pair.to(waveform.device)
        return self.pair.analyse(F.pad(waveform, (self.pad, self.pad)))

    def synthesise(self, spectrum: Tensor, samples: int) -> Tensor:
        padded = self.pair.synthesise(spectrum, samples + 2 * self.pad)
        return padded[..., self.pad : self.pad + samples]


def with_rest(mixture: Tensor, truth: Tensor) -> list[Tensor]:
    """The targets, then what they leave of the mixture, each (batch, channels, samples)."""
    return [*truth.unbind(1), mixture - truth.sum(1)]


def masked(
    stft: ZeroPaddedSTFT, mixture: Tensor, truth: Tensor, mask: Callable[[Tensor], Tensor]
) -> Separation:
    """Multiply the mixture's STFT by the mask that each target's STFT gives.

    Targets go one by one, so that a long song needs the memory of two spectrograms, not of eight.
    """
    spectrum, samples = stft.analyse(mixture), mixture.shape[-1]
    estimates = [
        stft.synthesise(mask(stft.analyse(target)) * spectrum, samples)
        for target in truth.unbind(1)
    ]
    return Separation(torch.stack(estimates, 1))


class IBM:
    """Ideal binary mask: 1 where |target|^alpha is at least theta of |mixture|^alpha, else 0.

    Measured against the mixture, so several targets may claim one bin and masks don't sum to 1.

    Args:
        alpha: 1 compares magnitudes, 2 powers.
        theta: Threshold.
        n_fft, hop: In samples.

    Shape:
        mixture (batch, channels, samples), truth (batch, targets, channels, samples)
        -> waveforms like the truth.
    """

    def __init__(
        self, *, alpha: float = 1.0, theta: float = 0.5, n_fft: int = 2048, hop: int = 1024
    ) -> None:
        self.alpha, self.theta = alpha, theta
        self.stft = ZeroPaddedSTFT(n_fft=n_fft, hop=hop)

    @torch.no_grad()
    def __call__(self, mixture: Tensor, truth: Tensor) -> Separation:
        whole = EPS + self.stft.analyse(mixture).abs() ** self.alpha

        def mask(spectrum: Tensor) -> Tensor:
            return (spectrum.abs() ** self.alpha / whole >= self.theta).to(whole.dtype)

        return masked(self.stft, mixture, truth, mask)


class IRM:
    """Ideal ratio mask |target|^alpha / sum over sources of |source|^alpha.

    Args:
        alpha: 1 is the published IRM1 (magnitudes), 2 IRM2 (powers).
        n_fft, hop: In samples.

    Shape:
        as `IBM`. The masks of all sources sum to one, so where the targets sum to the mixture,
        the estimates do too.
    """

    def __init__(self, *, alpha: float = 1.0, n_fft: int = 2048, hop: int = 1024) -> None:
        self.alpha = alpha
        self.stft = ZeroPaddedSTFT(n_fft=n_fft, hop=hop)

    @torch.no_grad()
    def __call__(self, mixture: Tensor, truth: Tensor) -> Separation:
        whole: Tensor | float = EPS
        for source in with_rest(mixture, truth):
            whole = whole + self.stft.analyse(source).abs() ** self.alpha
        return masked(
            self.stft, mixture, truth, lambda spectrum: spectrum.abs() ** self.alpha / whole
        )


class ComplexRatioMask:
    """Complex ratio mask target / mixture with its magnitude clipped (arXiv 1512.05201's idea).

    Unclipped it is perfect separation and says nothing. Clipped at 1 it is the best that any
    complex mask with a bounded activation can do in this STFT.

    Args:
        bound: Largest magnitude; the phase of the mask is kept.
        n_fft, hop: In samples.

    Shape:
        as `IBM`.
    """

    def __init__(self, *, bound: float = 1.0, n_fft: int = 2048, hop: int = 1024) -> None:
        self.bound = bound
        self.stft = ZeroPaddedSTFT(n_fft=n_fft, hop=hop)

    @torch.no_grad()
    def __call__(self, mixture: Tensor, truth: Tensor) -> Separation:
        whole = self.stft.analyse(mixture)

        def mask(spectrum: Tensor) -> Tensor:
            # S / X = S conj(X) / |X|^2 with magnitude |S| / |X|, finite where X is zero
            ratio = spectrum * whole.conj() / (whole.abs().square() + EPS)
            return ratio * (self.bound / ratio.abs().clamp_min(self.bound))

        return masked(self.stft, mixture, truth, mask)
