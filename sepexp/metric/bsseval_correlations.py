"""Step 1 of BSSEval: correlations of references and estimates, summed over cache-sized blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

FFT = 4096
GROUP = 8  # blocks transformed together: about 18 MiB for 8 + 8 channels, fresh pages cost time

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], threads: int
) -> list[Result]:
    """Results in the order of the items; NumPy lets go of the interpreter in all heavy parts.

    NaN and infinity in the signals are allowed for, so NumPy does not warn of them.
    """

    def quiet(item: Item) -> Result:
        # the setting belongs to a thread, so it is made in each
        with np.errstate(invalid="ignore"):
            return function(item)

    if threads < 2 or len(items) < 2:
        return [quiet(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(quiet, items))


def channels_first(signals: np.ndarray) -> np.ndarray:
    """View (sources, samples, channels) as (sources, channels, samples)."""
    return signals.transpose(0, 2, 1)


def load(signals: np.ndarray, start: int, out: np.ndarray) -> None:
    """Convert a stretch to float64, zeros after the end of the signals.

    Shape: signals (sources, channels, samples); out (sources * channels, stretch), overwritten.
    """
    sources, channels, samples = signals.shape
    length = max(0, min(out.shape[-1], samples - start))
    for source in range(sources):
        rows = slice(source * channels, (source + 1) * channels)
        out[rows, :length] = signals[source, :, start : start + length]
    out[:, length:] = 0


def correlations(
    references: np.ndarray, estimates: np.ndarray, taps: int, threads: int
) -> np.ndarray:
    """Correlations sum_n x_p[n] z_q[n + d] of every reference with references, then estimates.

    A block of the reference, padded with zeros, meets the stretch that begins with it and reaches
    `taps - 1` samples further, so nothing wraps around; products are summed before the one inverse
    transform.

    Shape:
        references, estimates: (sources, channels, samples), any real type.
        returns: (taps, inputs, 2 * inputs) for inputs = sources * channels, float64; lags ascend.
    """
    block = FFT - taps + 1
    starts = list(range(0, references.shape[-1], block))
    groups = [starts[first : first + GROUP] for first in range(0, len(starts), GROUP)]
    # a fixed split, so that the sums do not depend on which thread was quicker
    shares = [groups[share::threads] for share in range(threads) if groups[share::threads]]

    def total(share: list[list[int]]) -> np.ndarray:
        return _cross_spectra(references, estimates, share, block)

    spectra = np.sum(in_threads(total, shares, threads), axis=0)
    lags = np.fft.irfft(np.moveaxis(spectra, 0, -1), n=FFT)[..., :taps]
    return np.ascontiguousarray(np.moveaxis(lags, -1, 0))


def _cross_spectra(
    references: np.ndarray, estimates: np.ndarray, groups: list[list[int]], block: int
) -> np.ndarray:
    inputs = references.shape[0] * references.shape[1]
    stretch = np.empty((GROUP, 2 * inputs, FFT))
    total = np.zeros((FFT // 2 + 1, inputs, 2 * inputs), dtype=np.complex128)
    product = np.empty_like(total)
    for starts in groups:
        count = len(starts)
        for index, start in enumerate(starts):
            load(references, start, stretch[index, :inputs])
            load(estimates, start, stretch[index, inputs:])
        # one small matrix product per frequency, over the blocks; copies in this order are quick
        right = np.ascontiguousarray(np.fft.rfft(stretch[:count]).transpose(2, 0, 1))
        left = np.fft.rfft(stretch[:count, :inputs, :block], n=FFT).transpose(2, 1, 0)
        total += np.matmul(np.conjugate(left, order="C"), right, out=product)
    return total
