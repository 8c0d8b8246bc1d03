"""The museval package behind the signature of `sepexp.metric.bsseval.bss_eval`, for comparison."""

from __future__ import annotations

import importlib
import sys
import warnings
from types import ModuleType
from typing import NamedTuple

import numpy as np

from sepexp.errors import UserError


class MusevalScores(NamedTuple):
    """museval's four ratios in dB, each of shape (sources, frames)."""

    sdr: np.ndarray
    isr: np.ndarray
    sir: np.ndarray
    sar: np.ndarray


def load_museval() -> ModuleType:
    """Import museval, also where there is no ffmpeg.

    museval imports musdb, which imports stempeg, which raises without the ffmpeg program although
    no score needs it. Only then does an empty module stand in for stempeg.

    Raises:
        UserError: museval is not installed.
    """
    try:
        return importlib.import_module("museval")
    except RuntimeError:
        sys.modules["stempeg"] = ModuleType("stempeg")
        return importlib.import_module("museval")
    except ModuleNotFoundError as error:
        raise UserError("museval is not installed: run `pip install museval`.") from error


def bss_eval(
    references: np.ndarray, estimates: np.ndarray, window: float, hop: float
) -> MusevalScores:
    """BSSEval v4 by museval itself, wholly silent sources recorded as NaN.

    museval raises when a reference or an estimate is silent (channels sum to zero) over the whole
    signal. Here such a source, reference and estimate both, is taken out with a warning: its rows
    are NaN and the others get the values that museval gives without it. When every source is
    silent, everything is NaN; likewise, with a warning, where museval itself breaks down on a
    system that is exactly singular.

    Shape:
        references, estimates: (sources, samples, channels), museval's order, not torch's.
        window, hop: in samples.
        returns: four times (sources, frames).
    """
    museval = load_museval()
    references, estimates = np.atleast_3d(references), np.atleast_3d(estimates)
    if references.shape != estimates.shape:
        raise UserError(
            f"references have shape {references.shape}, estimates {estimates.shape}:"
            " expected the same (sources, samples, channels); cut or pad them to one length."
        )
    kept = ~(_silent(references) | _silent(estimates))
    if not kept.all():
        silent = np.flatnonzero(~kept).tolist()
        warnings.warn(f"sources {silent} are silent over the whole signal: NaN.", stacklevel=2)
    frames = museval.metrics.Framing(window, hop, references.shape[1]).nwin
    scores = np.full((4, len(references), frames), np.nan)
    if kept.any():
        try:
            scores[:, kept] = museval.metrics.bss_eval(
                references[kept], estimates[kept], window=window, hop=hop
            )[:4]
        except (np.linalg.LinAlgError, AttributeError) as error:
            # museval names numpy.linalg.linalg, which NumPy 2 has no more, when its LU fails
            warnings.warn(f"museval failed on a singular system: NaN ({error}).", stacklevel=2)
    return MusevalScores(*scores)


def _silent(signals: np.ndarray) -> np.ndarray:
    return np.all(signals.sum(axis=2) == 0, axis=1)
