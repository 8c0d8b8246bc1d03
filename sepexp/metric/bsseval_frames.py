"""Step 3 of BSSEval: energies of the projections and their errors in every frame."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sepexp.metric.bsseval_correlations import in_threads, load
from sepexp.metric.bsseval_filters import Filters

LONGEST_TRANSFORM = 1 << 17  # longer frames are filtered piece by piece, in bounded memory
PIECE = 1 << 15
SLICE = 256  # frequencies worked on together, so that products and sums stay in the cache
TOGETHER = 180224  # samples of one channel transformed together


class Energies(NamedTuple):
    """Sums of squares over channels and samples, for the projections of one estimate each.

    With s the reference, e the estimate, o its projection on filtered copies of s and a on those
    of all references: |s|^2, |e - s|^2, |o - s|^2, |o|^2, |a - o|^2, |a|^2, |e - a|^2.

    Shape: (sources, frames) each.
    """

    truth: np.ndarray
    error: np.ndarray
    spatial: np.ndarray
    own: np.ndarray
    interference: np.ndarray
    every: np.ndarray
    artefacts: np.ndarray


def smooth_length(samples: int) -> int:
    """Smallest even length of at least `samples` with no prime factor above 5."""
    length = samples + samples % 2
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 2


def frame_energies(
    references: np.ndarray,
    estimates: np.ndarray,
    bounds: list[tuple[int, int]],
    filters: Filters,
    threads: int,
) -> Energies:
    """Energies of every frame, each cut first and filtered afterwards with its tail.

    Shape: references, estimates (sources, channels, samples), any real type; the filters' inputs
        are sources * channels; returns (sources, frames) arrays.
    """
    taps = len(filters.every)
    longest = max(stop - start for start, stop in bounds)
    length = smooth_length(longest + taps - 1)
    if length > LONGEST_TRANSFORM:
        spectra = _Spectra(filters, PIECE, threads)
        columns = [
            _in_pieces(references, estimates, frame, spectra, taps, threads) for frame in bounds
        ]
        return Energies(*np.stack(columns, axis=-1))
    spectra = _Spectra(filters, length, threads)
    # as many groups for every thread, so that none waits for the others at the end
    rounds = -(-len(bounds) // (threads * max(1, TOGETHER // length)))
    share = -(-len(bounds) // (threads * rounds))
    groups = [bounds[first : first + share] for first in range(0, len(bounds), share)]
    parts = in_threads(
        lambda group: _by_parseval(references, estimates, group, spectra), groups, threads
    )
    return Energies(*np.concatenate(parts, axis=-1))


class _Spectra:
    """Frequency responses: `own` (sources, inner, outer, freq), `every` (freq, outer, inner)."""

    def __init__(self, filters: Filters, length: int, threads: int) -> None:
        self.length = length
        self.own = np.fft.rfft(np.moveaxis(filters.own, 0, -1), n=length)
        inputs = filters.every.shape[1]
        self.every = np.empty((length // 2 + 1, inputs, inputs), dtype=np.complex128)

        def respond(outer: int) -> None:
            taps = np.ascontiguousarray(filters.every[:, :, outer].T)
            self.every[:, outer] = np.fft.rfft(taps, n=length).T

        in_threads(respond, range(inputs), threads)


def _by_parseval(
    references: np.ndarray,
    estimates: np.ndarray,
    bounds: list[tuple[int, int]],
    spectra: _Spectra,
) -> np.ndarray:
    """Energies (7, sources, frames) of short frames, without any inverse transform."""
    sources, channels, _ = references.shape
    inputs = sources * channels
    longest = max(stop - start for start, stop in bounds)
    signals = np.empty((2 * inputs, len(bounds), longest))
    for index, (start, stop) in enumerate(bounds):
        load(references[..., :stop], start, signals[:inputs, index])
        load(estimates[..., :stop], start, signals[inputs:, index])
    transforms = np.fft.rfft(signals, n=spectra.length)
    truth = _squares(signals[:inputs])
    # exact zeros must survive here: identical estimates have no error at all
    error = _squares(np.subtract(signals[inputs:], signals[:inputs], out=signals[inputs:]))
    del signals
    # one-sided sums count every bin twice, but these two exist once
    transforms[..., [0, -1]] *= np.sqrt(0.5)
    sums = np.zeros((5, inputs, len(bounds)))
    for first in range(0, transforms.shape[-1], SLICE):
        part = slice(first, first + SLICE)
        sums += _sliced(transforms[..., part], spectra.own[..., part], spectra.every[part])
    energies = np.concatenate([np.stack([truth, error]), sums * (2 / spectra.length)])
    return energies.reshape(7, sources, channels, -1).sum(axis=2)


def _sliced(transforms: np.ndarray, own: np.ndarray, every: np.ndarray) -> np.ndarray:
    """Five sums of squares (5, inputs, frames) of a few frequencies; differences come first."""
    truth, estimate = np.split(transforms, 2)
    projected, explained = _projections(truth, own, every)
    return np.stack(
        [
            _power(projected - truth),
            _power(projected),
            _power(explained - projected),
            _power(explained),
            _power(estimate - explained),
        ]
    )


def _projections(
    truth: np.ndarray, own: np.ndarray, every: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Own-reference and all-reference projections of spectra (inputs, frames, freq)."""
    inputs, frames, freq = truth.shape
    sources, channels = own.shape[:2]
    images = truth.reshape(sources, channels, 1, frames, freq)
    projected = own[:, 0, :, None] * images[:, 0]
    for channel in range(1, channels):
        projected += own[:, channel, :, None] * images[:, channel]
    by_frequency = every @ np.ascontiguousarray(truth.transpose(2, 0, 1))
    explained = np.ascontiguousarray(by_frequency.transpose(1, 2, 0))
    return projected.reshape(truth.shape), explained


def _power(spectra: np.ndarray) -> np.ndarray:
    return np.vecdot(spectra, spectra).real


def _squares(signals: np.ndarray) -> np.ndarray:
    # no BLAS: its threads would wake for every long row and spin
    return np.einsum("...n,...n->...", signals, signals)


def _in_pieces(
    references: np.ndarray,
    estimates: np.ndarray,
    frame: tuple[int, int],
    spectra: _Spectra,
    taps: int,
    threads: int,
) -> np.ndarray:
    """Energies (7, sources) of one long frame by overlap-save: pieces are filtered, then summed."""
    start, stop = frame
    step = spectra.length - taps + 1
    firsts = list(range(start, stop + taps - 1, step))
    parts = in_threads(
        lambda first: _piece(references, estimates, frame, first, spectra, taps), firsts, threads
    )
    return np.sum(parts, axis=0)


def _piece(
    references: np.ndarray,
    estimates: np.ndarray,
    frame: tuple[int, int],
    first: int,
    spectra: _Spectra,
    taps: int,
) -> np.ndarray:
    """Energies (7, sources) of the filtered samples from `first` on, as many as one piece has."""
    start, stop = frame
    sources, channels, _ = references.shape
    inputs = sources * channels
    past = taps - 1
    # what lies before the frame is silence to the filters, also at its first sample
    signals = np.zeros((2 * inputs, spectra.length))
    begin = max(start, first - past)
    offset = begin - (first - past)
    load(references[..., :stop], begin, signals[:inputs, offset:])
    load(estimates[..., :stop], begin, signals[inputs:, offset:])
    transforms = np.fft.rfft(signals[:inputs])[:, None]
    both = np.stack(_projections(transforms, spectra.own, spectra.every))
    projected, explained = np.fft.irfft(both[:, :, 0], n=spectra.length)[..., past:]
    truth, estimate = np.split(signals[:, past:], 2)
    parts = [
        truth,
        estimate - truth,
        projected - truth,
        projected,
        explained - projected,
        explained,
        estimate - explained,
    ]
    return np.stack([_squares(x).reshape(sources, channels).sum(axis=1) for x in parts])
