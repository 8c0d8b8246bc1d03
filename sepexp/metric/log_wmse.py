"""logWMSE: a hearing-weighted error relative to the mixture, defined for silent targets too.

Proposed by Jordal (Nomono) in 2023; this is the definition that separation toolkits report.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import scipy.fft
import scipy.signal
import torch
from torch import Tensor

from sepexp.errors import UserError

SCALE, EPSILON = -4.0, 1e-8
INAUDIBLE = 10 ** (-68 / 20)  # weighted errors under this amplitude count as none
TAPS = 4000
DESIGN = 8192  # length at which the zero-phase response is sampled


def log_wmse(references: Tensor, estimates: Tensor, mixture: Tensor, sample_rate: int) -> Tensor:
    """-4 ln(mean square of the weighted error / weighted mixture RMS + 1e-8), mean over channels.

    About 73.7 for a perfect estimate, also of silence; higher is better. The weighting is designed
    at the sample rate of the signals, 44100 Hz being the published one.

    Shape: references, estimates (targets, channels, samples), mixture (channels, samples) ->
        (targets,).
    """
    if references.shape != estimates.shape or references.shape[1:] != mixture.shape:
        raise UserError(
            f"references have shape {tuple(references.shape)}, estimates {tuple(estimates.shape)},"
            f" mixture {tuple(mixture.shape)}: expected (targets, channels, samples) twice and"
            " (channels, samples)."
        )
    level = _weighted(mixture, sample_rate).square().mean(dim=-1, keepdim=True).sqrt()
    level = level.clamp(min=EPSILON)
    values = []
    for truth, guess in zip(references, estimates, strict=True):
        # the filter is linear: one pass over the difference instead of two
        error = _weighted((guess - truth) / level, sample_rate)
        error = torch.where(error.abs() < INAUDIBLE, 0.0, error)
        values.append((SCALE * torch.log(error.square().mean(dim=-1) + EPSILON)).mean())
    return torch.stack(values)


def _weighted(signals: Tensor, sample_rate: int) -> Tensor:
    taps = hearing_filter(sample_rate).to(signals)
    samples = signals.shape[-1]
    length = scipy.fft.next_fast_len(samples + len(taps) - 1, real=True)
    product = torch.fft.rfft(signals, n=length) * torch.fft.rfft(taps, n=length)
    start = (len(taps) - 1) // 2
    return torch.fft.irfft(product, n=length)[..., start : start + samples]


@lru_cache(maxsize=4)
def hearing_filter(sample_rate: int) -> Tensor:
    """Zero-phase weighting of the ear: high shelf, high-pass, peak and low-pass in a row.

    +5 dB above 1.5 kHz, 120 Hz, +2.5 dB at 500 Hz, 10 kHz; inspired by Fenton and Lee (2017). The
    low-pass is left out where Nyquist lies under it.

    Shape: (4000,).
    """
    freq = 2 * np.pi * np.arange(DESIGN // 2 + 1) / DESIGN
    magnitude = np.ones(len(freq))
    for numerator, denominator in (
        _shelf(1500, 5.0, 1 / math.sqrt(2), sample_rate),
        scipy.signal.butter(2, 120, "highpass", fs=sample_rate),
        _peak(500, 2.5, 1.5 / math.sqrt(2), sample_rate),
    ):
        magnitude *= np.abs(scipy.signal.freqz(numerator, denominator, worN=freq)[1])
    if sample_rate > 20_000:
        low_pass = scipy.signal.butter(1, 10_000, "lowpass", fs=sample_rate)
        magnitude *= np.abs(scipy.signal.freqz(*low_pass, worN=freq)[1]) ** 2
    centred = np.fft.fftshift(np.fft.irfft(magnitude, n=DESIGN))
    middle = DESIGN // 2 + 1
    return torch.from_numpy(centred[middle - TAPS // 2 : middle + TAPS // 2])


def _shelf(
    corner: float, gain: float, quality: float, sample_rate: int
) -> tuple[np.ndarray, np.ndarray]:
    """High shelf of the audio-EQ cookbook (Bristow-Johnson), gain in dB."""
    amplitude = 10 ** (gain / 40)
    angle = 2 * math.pi * corner / sample_rate
    cosine, root = math.cos(angle), 2 * math.sqrt(amplitude) * math.sin(angle) / (2 * quality)
    plus, minus = amplitude + 1, amplitude - 1
    numerator = amplitude * np.array(
        [plus + minus * cosine + root, -2 * (minus + plus * cosine), plus + minus * cosine - root]
    )
    denominator = [
        plus - minus * cosine + root,
        2 * (minus - plus * cosine),
        plus - minus * cosine - root,
    ]
    return numerator, np.array(denominator)


def _peak(
    centre: float, gain: float, quality: float, sample_rate: int
) -> tuple[np.ndarray, np.ndarray]:
    """Peaking filter of the audio-EQ cookbook (Bristow-Johnson), gain in dB."""
    amplitude = 10 ** (gain / 40)
    angle = 2 * math.pi * centre / sample_rate
    slope, cosine = math.sin(angle) / (2 * quality), -2 * math.cos(angle)
    numerator = np.array([1 + slope * amplitude, cosine, 1 - slope * amplitude])
    return numerator, np.array([1 + slope / amplitude, cosine, 1 - slope / amplitude])
