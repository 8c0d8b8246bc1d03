"""Scores that compare spectra, by the definitions that users of today's toolkits compare by.

bleedless, fullness, l1_freq, aura_stft and aura_mrstft follow the public
Music-Source-Separation-Training toolkit (settings included, so that numbers compare) and auraloss
(Steinmetz and Reiss 2020). All are 0 to 100, higher is better, except the log-spectral distance.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import scipy.signal
import torch
from torch import Tensor
from torch.nn.functional import conv1d

from sepexp.errors import UserError

EPSILON = 1e-8
MEL_BREAK, MEL_LINEAR, MEL_LOG = 1000.0, 200 / 3, math.log(6.4) / 27


def bleedless(references: Tensor, estimates: Tensor, sample_rate: int) -> Tensor:
    """100 / (1 + mean excess of the estimate in dB): low where other sources leak in.

    Mean over the mel bins (512 bands, STFT 4096/1024, floor 80 dB under the maximum) in which the
    estimate is above the reference.

    Shape: (targets, channels, samples) twice -> (targets,).
    """
    return 100 / (1 + _mel_difference(references, estimates, sample_rate).excess)


def fullness(references: Tensor, estimates: Tensor, sample_rate: int) -> Tensor:
    """100 / (1 + mean lack of the estimate in dB): low where parts of the source are missing.

    Shape: (targets, channels, samples) twice -> (targets,). See `bleedless`.
    """
    return 100 / (1 + _mel_difference(references, estimates, sample_rate).lack)


def l1_freq(references: Tensor, estimates: Tensor) -> Tensor:
    """100 / (1 + 10 mean |difference of magnitudes|), STFT 2048/1024 with a rectangular window.

    Depends on the level of the signals.

    Shape: (targets, channels, samples) twice -> (targets,).
    """
    values = []
    for truth, guess in _pairs(references, estimates):
        magnitudes = [
            torch.stft(signal, 2048, 1024, window=signal.new_ones(2048), return_complex=True).abs()
            for signal in (truth, guess)
        ]
        values.append((magnitudes[1] - magnitudes[0]).abs().mean())
    return 100 / (1 + 10 * torch.stack(values))


def aura_stft(references: Tensor, estimates: Tensor) -> Tensor:
    """100 / (1 + 10 (spectral convergence + log-magnitude distance)), STFT 1024/256, Hann.

    As in the toolkit, the convergence is relative to the estimate and not to the reference.

    Shape: (targets, channels, samples) twice -> (targets,).
    """
    values = [
        _stft_distance(truth, guess, 1024, 256, None)
        for truth, guess in _pairs(references, estimates)
    ]
    return 100 / (1 + 10 * torch.stack(values))


def aura_mrstft(references: Tensor, estimates: Tensor, sample_rate: int) -> Tensor:
    """`aura_stft` averaged over STFTs 1024, 2048, 4096 (hop a quarter), 128 mel bands, A-weighted.

    Shape: (targets, channels, samples) twice -> (targets,).
    """
    values = []
    for truth, guess in _pairs(references, estimates):
        left, right = (_a_weighted(signal.float(), sample_rate) for signal in (truth, guess))
        distances = [
            _stft_distance(left, right, n_fft, n_fft // 4, mel_filters(sample_rate, n_fft, 128))
            for n_fft in (1024, 2048, 4096)
        ]
        values.append(torch.stack(distances).mean())
    return 100 / (1 + 10 * torch.stack(values))


def log_spectral_distance(
    references: Tensor, estimates: Tensor, n_fft: int = 2048, hop: int = 512
) -> Tensor:
    """Root mean square over frequency of the level difference in dB, mean over frames (lower wins).

    Gray and Markel 1976. Powers are kept above 1e-8, so that silence meets silence at 0 dB.

    Shape: (targets, channels, samples) twice -> (targets,).
    """
    values = []
    for truth, guess in _pairs(references, estimates):
        levels = [20 * torch.log10(_magnitude(signal, n_fft, hop)) for signal in (truth, guess)]
        values.append((levels[0] - levels[1]).square().mean(dim=-2).sqrt().mean())
    return torch.stack(values)


@lru_cache(maxsize=16)
def mel_filters(sample_rate: int, n_fft: int, bands: int) -> Tensor:
    """Triangular mel bands of equal area on Slaney's scale, 0 to Nyquist: (bands, freq)."""
    top = _mel(sample_rate / 2)
    edges = _hertz(np.linspace(0, top, bands + 2))
    freq = np.linspace(0, sample_rate / 2, n_fft // 2 + 1)
    rising = (freq - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - freq) / np.diff(edges)[1:, None]
    area = 2 / (edges[2:] - edges[:-2])
    return torch.from_numpy(np.clip(np.minimum(rising, falling), 0, None) * area[:, None]).float()


def _mel(hertz: float) -> float:
    if hertz < MEL_BREAK:
        return hertz / MEL_LINEAR
    return MEL_BREAK / MEL_LINEAR + math.log(hertz / MEL_BREAK) / MEL_LOG


def _hertz(mel: np.ndarray) -> np.ndarray:
    corner = MEL_BREAK / MEL_LINEAR
    return np.where(mel < corner, mel * MEL_LINEAR, MEL_BREAK * np.exp(MEL_LOG * (mel - corner)))


def _pairs(references: Tensor, estimates: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Target by target, for spectra of whole tracks are large."""
    if references.shape != estimates.shape or references.ndim != 3:
        raise UserError(
            f"references have shape {tuple(references.shape)}, estimates {tuple(estimates.shape)}:"
            " expected the same (targets, channels, samples)."
        )
    return list(zip(references, estimates, strict=True))


class _Difference:
    """Mean excess and mean lack of an estimate in dB, each over the bins that have one."""

    def __init__(self, differences: list[Tensor]) -> None:
        self.excess = torch.stack([_mean_where(d, d > 0) for d in differences])
        self.lack = torch.stack([_mean_where(-d, d < 0) for d in differences])


def _mean_where(values: Tensor, chosen: Tensor) -> Tensor:
    return (values * chosen).sum() / chosen.sum().clamp(min=1)


def _mel_difference(references: Tensor, estimates: Tensor, sample_rate: int) -> _Difference:
    differences = []
    bank = mel_filters(sample_rate, 4096, 512).to(references.device)
    for truth, guess in _pairs(references, estimates):
        levels = []
        for signal in (truth.float(), guess.float()):
            window = torch.hann_window(4096, device=signal.device)
            spectrum = torch.stft(
                signal, 4096, 1024, window=window, pad_mode="constant", return_complex=True
            )
            level = 20 * torch.log10((bank @ spectrum.abs()).clamp(min=1e-10))
            levels.append(level.clamp(min=float(level.max()) - 80))
        differences.append(levels[1] - levels[0])
    return _Difference(differences)


def _magnitude(signal: Tensor, n_fft: int, hop: int) -> Tensor:
    window = torch.hann_window(n_fft, dtype=signal.dtype, device=signal.device)
    spectrum = torch.stft(signal, n_fft, hop, window=window, return_complex=True)
    return (spectrum.real**2 + spectrum.imag**2).clamp(min=EPSILON).sqrt()


def _stft_distance(
    truth: Tensor, guess: Tensor, n_fft: int, hop: int, bank: Tensor | None
) -> Tensor:
    left, right = _magnitude(truth, n_fft, hop), _magnitude(guess, n_fft, hop)
    if bank is not None:
        left, right = bank.to(left) @ left, bank.to(right) @ right
    convergence = (right - left).norm() / right.norm()
    return convergence + (left.log() - right.log()).abs().mean()


def _a_weighted(signal: Tensor, sample_rate: int) -> Tensor:
    taps = _a_weighting(sample_rate).to(signal)
    return conv1d(signal[:, None], taps[None, None], padding=len(taps) // 2)[:, 0]


@lru_cache(maxsize=4)
def _a_weighting(sample_rate: int) -> Tensor:
    """101 taps fitted to the A-weighting curve of IEC 61672, as the STFT distances of auraloss."""
    low, mid, high, top = (2 * math.pi * f for f in (20.598997, 107.65265, 737.86223, 12194.217))
    poles = [-low, -low, -mid, -high, -top, -top]
    gain = top**2 * 10 ** (1.9997 / 20)
    response = scipy.signal.bilinear_zpk([0, 0, 0, 0], poles, gain, fs=sample_rate)
    freq, values = scipy.signal.freqz_zpk(*response, worN=512, fs=sample_rate)
    taps = scipy.signal.firls(101, freq, np.abs(values), fs=sample_rate)
    return torch.from_numpy(taps.astype(np.float32))
