"""BSSEval version 4 (and 3), the numbers of museval, exact and many times faster.

Stöter, Liutkus and Ito, "The 2018 Signal Separation Evaluation Campaign", arXiv:1804.06267.
An estimate is projected on filtered copies of its own reference and of all references (512 taps,
one set for the track); SDR, ISR, SIR and SAR are ratios of energies in dB in every frame.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from sepexp.errors import UserError
from sepexp.metric.bsseval_correlations import channels_first, correlations
from sepexp.metric.bsseval_filters import RIDGE, Filters, distortion_filters
from sepexp.metric.bsseval_frames import Energies, frame_energies
from sepexp.metric.frames import frame_bounds

TAPS = 512
PROBE = 4096  # samples looked at before a whole stretch is read in search of sound


class Scores(NamedTuple):
    """The four ratios of BSSEval in dB.

    Shape: (sources, frames) each.
    """

    sdr: np.ndarray
    isr: np.ndarray
    sir: np.ndarray
    sar: np.ndarray


def bss_eval(
    references: np.ndarray,
    estimates: np.ndarray,
    window: float,
    hop: float,
    *,
    framewise_filters: bool = False,
    threads: int = 2,
    device: str | None = None,
) -> Scores:
    """SDR, ISR, SIR and SAR as museval computes them, with its frames and its NaN pattern.

    A frame in which one reference or estimate is silent (its channels sum to zero at every sample)
    is NaN for all sources. Samples after the last full frame are not scored but shape the filters.
    A source whose reference or estimate is silent over the whole signal, where museval raises, is
    taken out with a warning: its rows are NaN and the others are scored without it. A NaN sample
    in an estimate makes that source NaN, in a reference all of them.
    SDR involves no filter and is always exact. Where references are numerically singular (stems
    band-limited and rounded to float32), ISR, SIR and SAR depend on rounding, museval's own too:
    a warning says so.

    `framewise_filters` fits new filters in every frame (BSSEval v3). `device` runs correlations and
    energies in torch, on "cuda" for example.

    Shape:
        references, estimates: (sources, samples, channels), museval's order and not torch's; or
            (sources, samples) for mono. Any real type; no float64 copy of the whole is made.
        window, hop: in samples, may be fractional, overlapping, infinite.
        returns: four times (sources, frames), float64.

    Raises:
        UserError: shapes that differ or are not as above.
    """
    references, estimates = checked(references), checked(estimates)
    if references.shape != estimates.shape:
        raise UserError(
            f"references have shape {references.shape}, estimates {estimates.shape}:"
            " expected the same (sources, samples, channels); cut or pad them to one length."
        )
    bounds = frame_bounds(references.shape[1], window, hop)
    everything = [(0, references.shape[1])]
    kept = (sounding(references, everything) & sounding(estimates, everything))[:, 0]
    if not kept.all():
        silent = np.flatnonzero(~kept).tolist()
        warnings.warn(f"sources {silent} are silent over the whole signal: NaN.", stacklevel=2)
        references, estimates = references[kept], estimates[kept]
    scores = np.full((4, len(kept), len(bounds)), np.nan)
    heard = (sounding(references, bounds) & sounding(estimates, bounds)).all(axis=0)
    if kept.any() and heard.any():
        chosen = [frame for frame, alive in zip(bounds, heard, strict=True) if alive]
        stems = channels_first(references), channels_first(estimates)
        energies = projected_energies(*stems, chosen, framewise_filters, threads, device)
        scores[np.ix_(range(4), kept, heard)] = image_ratios(energies)
    return Scores(*scores)


def checked(signals: np.ndarray) -> np.ndarray:
    """Signals as (sources, samples, channels); two axes are mono.

    Raises:
        UserError: another number of axes, no sample, or complex numbers.
    """
    signals = np.asarray(signals)
    signals = signals[..., None] if signals.ndim == 2 else signals
    if signals.ndim != 3 or signals.size == 0 or np.iscomplexobj(signals):
        raise UserError(
            f"signals have shape {signals.shape} and type {signals.dtype}: expected real"
            " (sources, samples, channels) with at least one sample."
        )
    return signals


def sounding(signals: np.ndarray, bounds: list[tuple[int, int]]) -> np.ndarray:
    """Where the sum over channels is other than zero at some sample: (sources, stretches)."""

    def heard(stretch: np.ndarray) -> bool:
        # nearly every stretch shows itself within a few samples
        return any(
            bool((stretch[first : first + PROBE].sum(axis=1, dtype=np.float64) != 0).any())
            for first in range(0, len(stretch), PROBE)
        )

    table = [[heard(source[start:stop]) for start, stop in bounds] for source in signals]
    return np.array(table, dtype=bool).reshape(len(signals), len(bounds))


def projected_energies(
    references: np.ndarray,
    estimates: np.ndarray,
    bounds: list[tuple[int, int]],
    framewise_filters: bool,
    threads: int,
    device: str | None,
    ridge: float = RIDGE,
) -> Energies:
    """Energies of all frames with the filters of the whole signal, or with new ones in each.

    Shape: references, estimates (sources, channels, samples) -> (sources, frames) arrays.
    """
    if framewise_filters:
        columns = []
        for start, stop in bounds:
            stretch = references[..., start:stop], estimates[..., start:stop]
            whole = [(0, stop - start)]
            columns.append(projected_energies(*stretch, whole, False, threads, device, ridge))
        return Energies(*np.concatenate(columns, axis=-1))
    if device is None:
        lags = correlations(references, estimates, TAPS, threads)
        filters = _filters(lags, len(references), ridge)
        return _without_broken(frame_energies(references, estimates, bounds, filters, threads))
    from sepexp.metric.bsseval_torch import torch_correlations, torch_energies

    lags = torch_correlations(references, estimates, TAPS, device)
    filters = _filters(lags, len(references), ridge)
    return _without_broken(torch_energies(references, estimates, bounds, filters, device))


def image_ratios(energies: Energies) -> np.ndarray:
    """SDR, ISR, SIR and SAR of source images (4, sources, frames)."""
    return np.stack(
        [
            decibels(energies.truth, energies.error),
            decibels(energies.truth, energies.spatial),
            decibels(energies.own, energies.interference),
            decibels(energies.every, energies.artefacts),
        ]
    )


def decibels(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """10 log10 of a ratio, +inf where the denominator is exactly zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        values = 10 * np.log10(numerator / denominator)
    return np.where(denominator == 0, np.inf, values)


def _filters(lags: np.ndarray, sources: int, ridge: float) -> Filters:
    filters = distortion_filters(lags, sources, ridge)
    if not filters.certified:
        warnings.warn(
            "The references are numerically singular: ISR, SIR and SAR depend on rounding here,"
            " SDR does not.",
            stacklevel=4,
        )
    return filters


def _without_broken(energies: Energies) -> Energies:
    """A NaN in the filters reaches SDR too, as it does where errors are summed from parts."""
    broken = np.isnan(energies.every) | np.isnan(energies.own)
    return energies._replace(error=np.where(broken, np.nan, energies.error))
