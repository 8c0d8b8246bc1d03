"""BSSEval version 3, "sources" and "images", with the numbers of mir_eval.separation.

Vincent, Gribonval and Févotte, "Performance measurement in blind audio source separation", 2006.
In the sources version a filtered reference counts as correct, so its SDR is another quantity than
the SDR of MUSDB and usually higher; singing-voice papers (MIR-1K, iKala) report it.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sepexp.errors import UserError
from sepexp.metric.bsseval import (
    TAPS,
    checked,
    decibels,
    image_ratios,
    projected_energies,
    sounding,
)
from sepexp.metric.bsseval_correlations import channels_first, correlations
from sepexp.metric.bsseval_filters import Filters, distortion_filters
from sepexp.metric.bsseval_frames import frame_energies

RIDGE = 0.0  # mir_eval adds nothing to the diagonal

Ratios = Callable[[np.ndarray, np.ndarray], np.ndarray]


class SourceScores(NamedTuple):
    """Ratios in dB, and which estimate was taken for each reference.

    Shape: (sources, frames) each.
    """

    sdr: np.ndarray
    sir: np.ndarray
    sar: np.ndarray
    permutation: np.ndarray


class ImageScores(NamedTuple):
    """Ratios in dB, and which estimate was taken for each reference.

    Shape: (sources, frames) each.
    """

    sdr: np.ndarray
    isr: np.ndarray
    sir: np.ndarray
    sar: np.ndarray
    permutation: np.ndarray


def bss_eval_sources(
    references: np.ndarray,
    estimates: np.ndarray,
    window: float = math.inf,
    hop: float = math.inf,
    *,
    permute: bool = False,
    threads: int = 2,
) -> SourceScores:
    """SDR, SIR and SAR of mono sources; a reference filtered by 512 taps is no distortion.

    Shape:
        references, estimates: (sources, samples), any real type.
        window, hop: in samples; fewer than two full frames mean the whole signal, as in mir_eval.
        returns: (sources, frames) each.

    Raises:
        UserError: several channels, or shapes that differ.
    """
    if np.ndim(references) != 2:
        raise UserError(
            f"references have {np.ndim(references)} axes: the sources version is defined for mono"
            " (sources, samples); mix the channels down or take bss_eval_images."
        )

    def ratios(references: np.ndarray, estimates: np.ndarray) -> np.ndarray:
        return _source_ratios(references, estimates, threads)

    return SourceScores(*_scored(references, estimates, window, hop, permute, ratios, 3))


def bss_eval_images(
    references: np.ndarray,
    estimates: np.ndarray,
    window: float = math.inf,
    hop: float = math.inf,
    *,
    permute: bool = False,
    threads: int = 2,
) -> ImageScores:
    """SDR, ISR, SIR and SAR of source images, filters fitted anew in every frame.

    Shape:
        references, estimates: (sources, samples, channels) or (sources, samples), any real type.
        window, hop: in samples; fewer than two full frames mean the whole signal, as in mir_eval.
        returns: (sources, frames) each.

    Raises:
        UserError: shapes that differ.
    """

    def ratios(references: np.ndarray, estimates: np.ndarray) -> np.ndarray:
        whole = [(0, references.shape[-1])]
        energies = projected_energies(
            references, estimates, whole, False, threads, None, ridge=RIDGE
        )
        return image_ratios(energies)[..., 0]

    return ImageScores(*_scored(references, estimates, window, hop, permute, ratios, 4))


def _scored(
    references: np.ndarray,
    estimates: np.ndarray,
    window: float,
    hop: float,
    permute: bool,
    ratios: Ratios,
    metrics: int,
) -> np.ndarray:
    """Ratios and permutation (metrics + 1, sources, frames); silence as in `bsseval.bss_eval`.

    Shape: ratios maps (sources, channels, samples) twice to (metrics, sources).
    """
    references, estimates = checked(references), checked(estimates)
    if references.shape != estimates.shape:
        raise UserError(
            f"references have shape {references.shape}, estimates {estimates.shape}:"
            " expected the same; cut or pad them to one length."
        )
    bounds = _frames(references.shape[1], window, hop)
    whole = [(0, references.shape[1])]
    kept = (sounding(references, whole) & sounding(estimates, whole))[:, 0]
    if not kept.all():
        silent = np.flatnonzero(~kept).tolist()
        warnings.warn(f"sources {silent} are silent over the whole signal: NaN.", stacklevel=3)
    names = np.flatnonzero(kept)
    scores = np.full((metrics + 1, len(kept), len(bounds)), np.nan)
    heard = (sounding(references[kept], bounds) & sounding(estimates[kept], bounds)).all(axis=0)
    for frame in np.flatnonzero(heard) if kept.any() else []:
        stretch = slice(*bounds[frame])
        truth, guess = (channels_first(x[kept, stretch]) for x in (references, estimates))
        values, order = _matched(truth, guess, ratios, permute)
        scores[:-1, kept, frame] = values
        scores[-1, kept, frame] = names[order]
    return scores


def _frames(samples: int, window: float, hop: float) -> list[tuple[int, int]]:
    if not (window > 0 and hop > 0):
        raise UserError(f"window {window} and hop {hop} must both be above 0 samples.")
    count = 0 if math.isinf(window + hop) else math.floor((samples - window + hop) / hop)
    if count < 2:
        return [(0, samples)]
    starts = [math.floor(index * hop) for index in range(count)]
    return [(start, math.floor(start + window)) for start in starts]


def _matched(
    references: np.ndarray, estimates: np.ndarray, ratios: Ratios, permute: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Ratios (metrics, sources) and the order of estimates with the best mean SIR."""
    sources = len(references)
    if not permute:
        return ratios(references, estimates), np.arange(sources)
    # turning the estimates round once meets every pair
    turned = np.stack(
        [ratios(references, np.roll(estimates, -shift, axis=0)) for shift in range(sources)]
    )
    truth = np.arange(sources)
    orders = [np.array(order) for order in itertools.permutations(range(sources))]
    tables = [turned[(order - truth) % sources, :, truth].T for order in orders]
    # SIR is the last ratio but one; argmax takes the first of several NaN, the given order
    best = int(np.argmax([table[-2].mean() for table in tables]))
    return tables[best], orders[best]


def _source_ratios(references: np.ndarray, estimates: np.ndarray, threads: int) -> np.ndarray:
    sources, _, samples = references.shape
    whole = [(0, samples)]
    lags = correlations(references, estimates, TAPS, threads)
    filters = distortion_filters(lags, sources, RIDGE)
    both = frame_energies(references, estimates, whole, filters, threads)
    # the same again with own references only: its artefacts are all that those cannot explain
    alone = np.zeros_like(filters.every)
    alone[:, range(sources), range(sources)] = filters.own[..., 0, 0]
    own = frame_energies(references, estimates, whole, Filters(filters.own, alone, True), threads)
    return np.stack(
        [
            decibels(both.own, own.artefacts),
            decibels(both.own, both.interference),
            decibels(both.every, both.artefacts),
        ]
    )[..., 0]
