"""Signal-to-distortion ratios that need no filters, for NumPy arrays and torch tensors alike.

Three numbers in the field are called SDR and must not be mixed: the framewise SDR of BSSEval v4
(museval, `framewise_sdr`), the whole-track ratio of the MDX and SDX challenges (`usdr`, also called
nSDR there), and the scale-invariant ratio (`si_sdr`). All values are in dB, higher is better.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from sepexp.errors import UserError
from sepexp.metric.frames import frame_bounds

Array = TypeVar("Array", np.ndarray, Tensor)
BLOCK = 1 << 18  # samples looked at together: bounds the memory of float64 copies


def framewise_sdr(references: Array, estimates: Array, window: float, hop: float) -> Array:
    """SDR of BSSEval v4 in every frame, exact and in O(samples).

    Spatial, interference and artefact errors of BSSEval sum to estimate minus reference, so the
    framewise SDR is |s|^2 / |e - s|^2 over samples and channels and the filters cancel out.
    As in museval, one silent reference or estimate (its channels sum to zero at every sample) makes
    a frame NaN for all targets. A target that is silent over the whole signal, where museval
    raises, is NaN with a warning, and the others are scored as if it were not there.
    A NaN sample in an estimate makes that target NaN, in a reference all of them.

    Shape:
        references, estimates: (targets, channels, samples), any real type.
        window, hop: in samples, may be fractional.
        returns: (targets, frames), float64, on the device of the inputs.

    Raises:
        UserError: shapes that differ or have not three axes.
    """
    _same_shape(references, estimates)
    if references.ndim != 3:
        raise UserError(
            f"framewise_sdr got shape {tuple(references.shape)}, expected (targets, channels,"
            " samples): score one track at a time."
        )
    with torch.no_grad():
        sounding = _sounding(references) & _sounding(estimates)
        if not bool(sounding.all()):
            silent = [index for index, alive in enumerate(sounding.tolist()) if not alive]
            warnings.warn(
                f"targets {silent} are silent over the whole signal: recorded as NaN.", stacklevel=2
            )
        broken = ~_finite(estimates) | (~_finite(references)).any()
        columns = [
            _frame_sdr(references[..., start:stop], estimates[..., start:stop], sounding)
            for start, stop in frame_bounds(references.shape[-1], window, hop)
        ]
        library = _library(references)
        table = library.stack(columns, -1)
        return library.where((~sounding | broken)[:, None], library.nan, table)


def csdr(references: Array, estimates: Array, window: float, hop: float) -> Array:
    """Median over frames of `framewise_sdr`: the SDR of a track in MUSDB tables.

    NaN frames are skipped, and infinite ones too, because museval stores those as NaN.

    Shape: (targets, channels, samples) twice, window and hop in samples -> (targets,).
    """
    values = framewise_sdr(references, estimates, window, hop)
    library = _library(values)
    values = library.where(library.isinf(values), library.nan, values)
    if isinstance(values, Tensor):
        # torch's own nanmedian takes the lower of two middle values; museval's tables take the mean
        return torch.nanquantile(values, 0.5, dim=-1)  # type: ignore[return-value]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all-NaN rows stay NaN
        return np.nanmedian(values, axis=-1)


def usdr(references: Array, estimates: Array, delta: float = 1e-7) -> Array:
    """Whole-track SDR of the MDX 2021 and SDX 2023 challenges (arXiv:2108.13559, arXiv:2308.06979).

    10 log10((sum s^2 + delta) / (sum (s - e)^2 + delta)), sums over channels and samples; delta
    keeps it finite, 1e-7 in the challenges. Also called nSDR, and plain SDR by recent toolkits.

    Shape: (..., channels, samples) twice -> (...).
    """
    _same_shape(references, estimates)
    return _decibels(
        _energy(references) + delta, _sum_blocks(_squared_error, references, estimates) + delta
    )


def snr(references: Array, estimates: Array) -> Array:
    """Signal-to-noise ratio |s|^2 / |s - e|^2 over channels and samples of the whole signal.

    Silent references give -inf, identical estimates +inf.

    Shape: (..., channels, samples) twice -> (...).
    """
    _same_shape(references, estimates)
    return _decibels(_energy(references), _sum_blocks(_squared_error, references, estimates))


def si_sdr(references: Array, estimates: Array, zero_mean: bool = False) -> Array:
    """Scale-invariant SDR (arXiv:1811.02508): |g s|^2 / |e - g s|^2 with the best gain g.

    One gain serves all channels of a target, so a wrong balance between channels is an error.
    `zero_mean` removes each channel's mean first, as speech toolkits do.
    A silent reference or a silent estimate gives NaN.

    Shape: (..., channels, samples) twice -> (...).
    """
    target, residual = _scaled_target(references, estimates, zero_mean)
    return _decibels(_energy(target), _energy(residual))


def si_sir(references: Array, estimates: Array, zero_mean: bool = False) -> Array:
    """Scale-invariant signal-to-interference ratio (arXiv:1811.02508).

    Interference is the part of the residual that a gain for each reference can explain; channels
    share the gain. 1/SI-SDR = 1/SI-SIR + 1/SI-SAR holds for the plain ratios.

    Shape: (targets, channels, samples) twice, all sources of one mixture -> (targets,).
    """
    target, residual = _scaled_target(references, estimates, zero_mean)
    return _decibels(_energy(target), _energy(_explained(references, residual, zero_mean)))


def si_sar(references: Array, estimates: Array, zero_mean: bool = False) -> Array:
    """Scale-invariant signal-to-artefacts ratio (arXiv:1811.02508), see `si_sir`.

    Shape: (targets, channels, samples) twice, all sources of one mixture -> (targets,).
    """
    target, residual = _scaled_target(references, estimates, zero_mean)
    artefacts = residual - _explained(references, residual, zero_mean)
    return _decibels(_energy(target), _energy(artefacts))


def nsdr(
    references: Array,
    estimates: Array,
    mixture: Array,
    score: Callable[[Array, Array], Array] = snr,
) -> Array:
    """Gain of a score over handing back the mixture: score(s, e) - score(s, mixture).

    The normalised SDR of singing-voice papers takes the SDR of `mir_eval_v3.sources` for `score`.
    Not the "nSDR" of MDX, which is `usdr`.

    Shape: references, estimates (targets, channels, samples); mixture (channels, samples) ->
        (targets,).
    """
    _same_shape(references, estimates)
    repeated = _library(references).broadcast_to(mixture, references.shape)
    return score(references, estimates) - score(references, repeated)


def gnsdr(values: Array, lengths: Array) -> Array:
    """Global NSDR: mean of the tracks' NSDR weighted by their lengths, NaN tracks left out.

    Shape: values (tracks,) or (tracks, targets), lengths (tracks,) -> () or (targets,).
    """
    library = _library(values)
    weights = _double(lengths).reshape((-1,) + (1,) * (values.ndim - 1))
    weights = library.where(library.isnan(values), 0.0, weights)
    return library.nansum(_double(values) * weights, 0) / weights.sum(0)


def _frame_sdr(reference: Array, estimate: Array, sounding: Array) -> Array:
    truth, guess = _double(reference), _double(estimate)
    heard = (truth.sum(1) != 0).any(-1) & (guess.sum(1) != 0).any(-1)
    ratio = _decibels((truth**2).sum((1, 2)), ((guess - truth) ** 2).sum((1, 2)))
    library = _library(truth)
    return library.where((heard | ~sounding).all(), ratio, library.nan)


def _library(signals: Array) -> Any:
    """The module, torch or numpy, whose functions take these signals."""
    module: ModuleType = torch if isinstance(signals, Tensor) else np
    return module


def _double(signals: Array) -> Array:
    if isinstance(signals, Tensor):
        # Apple's GPUs have no float64
        return signals.cpu().double() if signals.device.type == "mps" else signals.double()
    return np.asarray(signals, dtype=np.float64)


def _decibels(numerator: Array, denominator: Array) -> Array:
    """10 log10 of a ratio, +inf where the denominator is exactly zero, as museval has it."""
    library = _library(numerator)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = 10 * library.log10(numerator / denominator)
    return library.where(denominator == 0, library.inf, values)


def _same_shape(references: Array, estimates: Array) -> None:
    if tuple(references.shape) != tuple(estimates.shape) or references.ndim < 2:
        raise UserError(
            f"references have shape {tuple(references.shape)}, estimates {tuple(estimates.shape)}:"
            " expected the same (..., channels, samples); cut or pad them to one length."
        )


def _blocks(samples: int) -> list[slice]:
    return [slice(start, min(start + BLOCK, samples)) for start in range(0, samples, BLOCK)]


def _sounding(signals: Array) -> Array:
    """Which targets have a channel sum other than zero somewhere: (targets,)."""
    parts = [
        (_double(signals[..., block]).sum(1) != 0).any(-1) for block in _blocks(signals.shape[-1])
    ]
    return _library(signals).stack(parts).any(0)


def _finite(signals: Array) -> Array:
    return _library(signals).isfinite(_energy(signals))


def _energy(signals: Array) -> Array:
    return _sum_blocks(lambda left, right: (left * right).sum((-2, -1)), signals, signals)


def _squared_error(left: Array, right: Array) -> Array:
    return ((left - right) ** 2).sum((-2, -1))


def _sum_blocks(term: Callable[[Array, Array], Array], left: Array, right: Array) -> Array:
    """Sum of a term over blocks of samples in float64, without a float64 copy of the whole."""
    total = term(_double(left[..., :0]), _double(right[..., :0]))
    for block in _blocks(left.shape[-1]):
        total = total + term(_double(left[..., block]), _double(right[..., block]))
    return total


def _scaled_target(references: Array, estimates: Array, zero_mean: bool) -> tuple[Array, Array]:
    """The reference times its best gain, and what of the estimate is left: shapes of the inputs."""
    _same_shape(references, estimates)
    truth, guess = _centred(references, zero_mean), _centred(estimates, zero_mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = (truth * guess).sum((-2, -1)) / (truth**2).sum((-2, -1))
    # a silent estimate leaves no residual either: without this its ratio would be infinite
    gain = _library(truth).where((guess != 0).any(-1).any(-1), gain, _library(truth).nan)
    target = gain[..., None, None] * truth
    return target, guess - target


def _centred(signals: Array, zero_mean: bool) -> Array:
    values = _double(signals)
    return values - values.mean(-1)[..., None] if zero_mean else values


def _explained(references: Array, residual: Array, zero_mean: bool) -> Array:
    """Projection of every residual on the span of all references, one gain for each."""
    library = _library(references)
    targets = references.shape[0]
    basis = _centred(references, zero_mean).reshape(targets, -1)
    flat = residual.reshape(targets, -1)
    # the pseudo-inverse takes silent or repeated references, where a plain solve fails
    gains = library.linalg.pinv(basis @ basis.T) @ (basis @ flat.T)
    return (gains.T @ basis).reshape(residual.shape)
