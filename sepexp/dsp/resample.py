"""Resampling by a windowed sinc, its phases laid out as tables that BLAS multiplies (numpy only).

A rational ratio repeats its phases, so one period of outputs is a few small matrices times a
strided view of the input: no gather, no interpolation, few taps that don't count. The filter is
that of J. O. Smith, "Digital Audio Resampling Home Page", CCRMA, Stanford.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from sepexp.errors import UserError

ZERO_CROSSINGS = 24  # on each side; 80 dB down from the lower Nyquist frequency on
ROLLOFF = 0.9  # of the lower Nyquist frequency is where it is 6 dB down; flat to 0.79
KAISER_BETA = 7.857  # 80 dB
DENOMINATORS = (256, 1024, 4096)  # for ratios that are no Fraction: the first that is near enough
NEAR = 3e-5  # relative: 0.05 cents, which only ratios between 0.9998 and 1.0002 may miss
BLOCK = 32  # outputs a table: wider wastes multiplications, narrower wastes calls
SMALL_PRODUCT = (
    1 << 18
)  # multiply-adds: up to here OpenBLAS never uses threads, and sums keep order


class Phases(NamedTuple):
    """The tables of one ratio: `tables[i]` reads from `starts[i]` in a period of the input on."""

    inputs: int  # samples of input a period
    outputs: int  # samples of output a period
    taps: int
    starts: tuple[int, ...]
    tables: tuple[np.ndarray, ...]  # (reads, block)


def fraction(ratio: float | Fraction) -> Fraction:
    """The rational ratio that is really used; a Fraction stays as it is.

    Raises:
        UserError: the ratio is not a positive number between 1/64 and 64.
    """
    if not (1 / 64 <= ratio <= 64):
        raise UserError(f"A resampling ratio of {ratio} came; it must lie between 1/64 and 64.")
    if isinstance(ratio, Fraction):
        return ratio
    for largest in DENOMINATORS:
        near = Fraction(ratio).limit_denominator(largest)
        if abs(near - ratio) < NEAR * ratio:
            break
    return near


def margin(ratio: float | Fraction) -> int:
    """Where in the input output sample 0 sits: so many samples are read before it."""
    exact = fraction(ratio)
    return 0 if exact == 1 else _half(exact) - 1


def frames_needed(frames: int, ratio: float | Fraction) -> int:
    """How many input samples `frames` output samples read, the margins on both sides included."""
    exact = fraction(ratio)
    if exact == 1 or frames <= 0:
        return max(frames, 0)
    return (frames - 1) * exact.numerator // exact.denominator + 2 * _half(exact)


def resample(audio: np.ndarray, ratio: float | Fraction, frames: int) -> np.ndarray:
    """Read `audio` at `ratio` input samples an output sample: above 1 it sounds faster and higher.

    Output sample j is the input at `margin(ratio) + j * fraction(ratio)`, band-limited to the lower
    Nyquist frequency. More input than `frames_needed` says changes nothing.

    Shape: audio (..., samples) float32 -> (..., frames) float32, a new array.

    Raises:
        UserError: the input is too short or the ratio out of range.
    """
    exact = fraction(ratio)
    needed = frames_needed(frames, exact)
    if audio.shape[-1] < needed:
        raise UserError(
            f"{audio.shape[-1]} samples came where {frames} samples at ratio {ratio} need {needed}:"
            " read more input."
        )
    if exact == 1 or frames == 0:
        return np.array(audio[..., :frames], dtype=np.float32, order="C")
    rows = np.asarray(audio[..., :needed], dtype=np.float32).reshape(-1, needed)
    if rows.strides[-1] != rows.itemsize:
        rows = np.ascontiguousarray(rows)
    output = np.empty((len(rows), frames), np.float32)
    _fill(rows, output, phases_of(exact))
    return output.reshape(*audio.shape[:-1], frames)


def convert(audio: np.ndarray, source_rate: int, target_rate: int) -> np.ndarray:
    """A whole signal at another sampling rate (Hz); silence is taken to lie on both sides of it.

    Shape: audio (..., samples) -> (..., ceil(samples * target_rate / source_rate)) float32.
    """
    if source_rate <= 0 or target_rate <= 0:
        raise UserError(
            f"Sampling rates of {source_rate} and {target_rate} Hz came; both must be positive."
        )
    ratio = Fraction(source_rate, target_rate)
    frames = ceil(audio.shape[-1] / ratio)
    before = margin(ratio)
    after = max(0, frames_needed(frames, ratio) - before - audio.shape[-1])
    padding = [(0, 0)] * (audio.ndim - 1) + [(before, after)]
    return resample(np.pad(np.asarray(audio, np.float32), padding), ratio, frames)


def _half(ratio: Fraction) -> int:
    return ceil(ZERO_CROSSINGS * max(Fraction(1), ratio))


@lru_cache(maxsize=32)
def phases_of(ratio: Fraction) -> Phases:
    half = _half(ratio)
    taps = 2 * half
    reads = taps + ceil(BLOCK * ratio)
    # BLAS takes a strided view as it is only where a row is no longer than the step to the next.
    periods = max(ceil(reads / ratio.numerator), ceil(BLOCK / ratio.denominator))
    inputs, outputs = ratio.numerator * periods, ratio.denominator * periods
    blocks = ceil(outputs / BLOCK)
    edges = [outputs * block // blocks for block in range(blocks + 1)]
    whole = [output * ratio.numerator // ratio.denominator for output in range(outputs)]
    kernel = _kernel(ratio, half)
    tables = []
    for first, last in zip(edges[:-1], edges[1:], strict=True):
        table = np.zeros((whole[last - 1] - whole[first] + taps, last - first), np.float32)
        for output in range(first, last):
            begin = whole[output] - whole[first]
            phase = output * ratio.numerator % ratio.denominator
            table[begin : begin + taps, output - first] = kernel[phase]
        tables.append(table)
    return Phases(inputs, outputs, taps, tuple(whole[first] for first in edges[:-1]), tuple(tables))


def _kernel(ratio: Fraction, half: int) -> np.ndarray:
    """Shape: (phases, taps); every phase sums to 1, so that a constant stays that constant."""
    cutoff = ROLLOFF / max(1.0, float(ratio))
    phase = np.arange(ratio.denominator)[:, None] / ratio.denominator
    time = np.arange(1 - half, half + 1) - phase  # in input samples from where the output sits
    kernel = np.sinc(cutoff * time) * np.interp(np.abs(time / half), *_window())
    return (kernel / kernel.sum(axis=1, keepdims=True)).astype(np.float32)


@lru_cache(maxsize=1)
def _window() -> tuple[np.ndarray, np.ndarray]:
    """Half a Kaiser window, so dense (steps of 1/4096) that lines between are right to 1e-6."""
    place = np.linspace(0, 1, 4097)
    return place, np.i0(KAISER_BETA * np.sqrt(1 - place**2)) / np.i0(KAISER_BETA)


def _fill(rows: np.ndarray, output: np.ndarray, phases: Phases) -> None:
    """Whole groups of periods straight into the output, then the rest by way of a padded copy."""
    channels, frames = output.shape
    reads = max(
        start + len(table) for start, table in zip(phases.starts, phases.tables, strict=True)
    )
    periods = min(frames // phases.outputs, max(0, (rows.shape[-1] - reads) // phases.inputs + 1))
    largest = max(table.size for table in phases.tables)
    height = max(1, SMALL_PRODUCT // largest)
    groups = periods // height
    done = groups * height
    if groups:
        _multiply(
            rows,
            output[:, : done * phases.outputs].reshape(channels, groups, height, phases.outputs),
            phases,
        )
    rest = frames - done * phases.outputs
    if rest:
        height = ceil(rest / phases.outputs)
        padded = np.zeros((channels, height * phases.inputs + reads), np.float32)
        left = rows[:, done * phases.inputs : done * phases.inputs + padded.shape[1]]
        padded[:, : left.shape[1]] = left
        scratch = np.empty((channels, 1, height, phases.outputs), np.float32)
        _multiply(padded, scratch, phases)
        output[:, done * phases.outputs :] = scratch.reshape(channels, -1)[:, :rest]


def _multiply(rows: np.ndarray, output: np.ndarray, phases: Phases) -> None:
    """Shape: rows (channels, samples), long enough, output (channels, groups, height, outputs)."""
    channels, groups, height, outputs = output.shape
    period = phases.inputs * rows.itemsize
    first = 0
    for start, table in zip(phases.starts, phases.tables, strict=True):
        view = as_strided(
            rows[:, start:],
            (channels, groups, height, len(table)),
            (rows.strides[0], height * period, period, rows.itemsize),
            writeable=False,
        )
        last = first + table.shape[1]
        np.matmul(view, table, out=output[..., first:last])
        first = last
