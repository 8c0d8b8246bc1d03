"""Discrete wavelet transforms of the last axis by lifting: halve the rate and lose nothing.

Nakamura and Saruwatari, "Time-Domain Audio Source Separation Based on Wave-U-Net Combined with
Discrete Wavelet Transform", arXiv 2001.10190.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sepexp.errors import UserError

# Taps of the lifting steps, from past to future. Predict reads the even samples around an odd one
# (so its centre lies between its two middle taps), update the high band around an even sample.
LIFTING: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "lazy": ((0.0,), (0.0,)),  # plain split into even and odd samples
    "haar": ((1.0,), (0.5,)),
    "cdf22": ((0.5, 0.5), (0.25, 0.25)),
    "cdf26": ((0.5, 0.5), tuple(tap / 512 for tap in (5, -39, 162, 162, -39, 5))),
    "cdf15": ((1.0,), tuple(tap / 256 for tap in (-3, 22, 128, -22, 3))),
    "dd4": ((-1 / 16, 9 / 16, 9 / 16, -1 / 16), (-1 / 32, 9 / 32, 9 / 32, -1 / 32)),
}
ROOT_HALF = 0.5**0.5


def dwt(signal: Tensor, wavelet: str) -> Tensor:
    """One level of analysis: the high band's channels, then the low band's.

    Shape:
        (batch, channels, samples), samples even -> (batch, 2 * channels, samples / 2).
    """
    predict, update = _taps(wavelet)
    if signal.shape[-1] % 2:
        raise ValueError(f"{signal.shape[-1]} samples came where an even number is needed")
    even, odd = signal[..., ::2], signal[..., 1::2]
    high = odd - _filter(even, predict, before=(len(predict) - 1) // 2)
    low = even + _filter(high, update, before=len(update) // 2)
    if wavelet != "lazy":
        high, low = high * ROOT_HALF, low / ROOT_HALF
    return torch.cat([high, low], dim=1)


def idwt(bands: Tensor, wavelet: str) -> Tensor:
    """The inverse of `dwt`: idwt(dwt(x)) = x.

    Shape:
        (batch, 2 * channels, samples) -> (batch, channels, 2 * samples).
    """
    predict, update = _taps(wavelet)
    high, low = bands.chunk(2, dim=1)
    if wavelet != "lazy":
        high, low = high / ROOT_HALF, low * ROOT_HALF
    even = low - _filter(high, update, before=len(update) // 2)
    odd = high + _filter(even, predict, before=(len(predict) - 1) // 2)
    return torch.stack([even, odd], dim=-1).flatten(-2)


def _taps(wavelet: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if wavelet not in LIFTING:
        raise UserError(f"wavelet is {wavelet!r}: expected one of {', '.join(LIFTING)}")
    return LIFTING[wavelet]


def _filter(signal: Tensor, taps: tuple[float, ...], before: int) -> Tensor:
    """Weighted sum of neighbours, the ends repeated; `before` taps look back."""
    samples = signal.shape[-1]
    padded = F.pad(signal, (before, len(taps) - 1 - before), mode="replicate")
    total = taps[0] * padded[..., :samples]
    for shift, tap in enumerate(taps[1:], start=1):
        total = total + tap * padded[..., shift : shift + samples]
    return total
