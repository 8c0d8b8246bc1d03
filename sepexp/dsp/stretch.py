"""Tempo and pitch in the time domain: overlap-add at waveform similarity (numpy only).

W. Verhelst and M. Roelands, "An overlap-add technique based on waveform similarity (WSOLA)",
ICASSP 1993. One splice plan, found on a sum of the channels, serves them all, so the stereo image
stays as it was; splices avoid attacks; a change of pitch is a stretch and a resampling.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from sepexp.dsp import resample
from sepexp.errors import UserError

HOP = 3072  # output samples from splice to splice, 70 ms at 44.1 kHz; less at tempos far from 1
DRIFT = 480  # samples: a hop is shortened until it strays no further, so that splices have a choice
OVERLAP = 512  # samples of cross-fade, 12 ms
IDLE = 400  # samples from the due position, 9 ms, up to which the input just goes on
SEARCH = 896  # samples each side of the due position, 20 ms: more than half a period of 30 Hz
WAIT = 1792  # samples from the due position, 40 ms, up to which no splice is made inside an attack
DECIMATION = 8  # the first search sees the sum below 2.5 kHz, the second one its full band
FINE = 12  # samples each side of the first search's answer
REACH = WAIT + DRIFT // 2 + 2 * FINE + OVERLAP  # what a splice may read beyond its due position
FLOOR = np.float32(0.1)  # of a match: nearness decides among poor ones and in silence
ONSET_BLOCK = 64  # samples
ONSET_PAST, ONSET_NOW = 16, 3  # blocks: an attack is 4 ms that outdo the 23 ms before them ...
ONSET_RISE = 4  # ... by this factor in power
ONSET_HEEDED = 0.3  # of an attack: losing less is not worth the wait

NEARNESS = 1 - 0.25 * np.linspace(-1, 1, 2 * (SEARCH // DECIMATION) + 1, dtype=np.float32) ** 2
FADE = ((np.arange(OVERLAP) + 0.5) / OVERLAP).astype(np.float32)


def frames_needed(frames: int, tempo: float) -> int:
    """How many input samples `stretch` reads for `frames` output samples."""
    hop = hop_length(tempo)
    if tempo == 1 or frames <= 0:
        return max(frames, 0)
    last = (ceil(frames / hop) - 1) * hop
    return ceil(last * tempo) + REACH + max(frames - last, hop)


def stretch(audio: np.ndarray, tempo: float, frames: int) -> np.ndarray:
    """Play `audio` at `tempo` times its speed (above 1: faster) and at its own pitch.

    Output sample 0 is input sample 0, sample j the input near `tempo * j`: mostly within 10 ms, for
    an attack's sake up to 40 ms (`WAIT`) and what a hop strays. All leading axes share one splice
    plan. The same input bits give the same output bits, and more input than `frames_needed` says
    changes nothing.

    Shape: audio (..., samples) float32 -> (..., frames) float32, a new array.

    Raises:
        UserError: the input is too short or the tempo not between 0.25 and 4.
    """
    needed = frames_needed(frames, tempo)
    if audio.shape[-1] < needed:
        raise UserError(
            f"{audio.shape[-1]} samples came where {frames} samples at tempo {tempo} need {needed}:"
            " read more input."
        )
    if tempo == 1 or frames == 0:
        return np.array(audio[..., :frames], dtype=np.float32, order="C")
    rows = np.asarray(audio[..., :needed], dtype=np.float32).reshape(-1, needed)
    output = np.empty((len(rows), frames), np.float32)
    _splice(rows, output, _plan(rows, tempo, frames), hop_length(tempo))
    return output.reshape(*audio.shape[:-1], frames)


def frames_needed_for(frames: int, *, tempo: float, semitones: float) -> int:
    """How many input samples `change` reads for `frames` output samples."""
    pitch = pitch_ratio(semitones)
    return frames_needed(resample.frames_needed(frames, pitch), stretch_tempo(pitch, tempo))


def most_needed(frames: int, *, tempo: float, semitones: float) -> int:
    """What no `change` exceeds at up to `tempo` (at least 1) and shifts of up to `semitones`.

    Longer than the longest by a hop at most: lengths of hops go up and down with the tempo.
    """
    # What a shift reads more, its stretch reads less, but for the margins of the resampler.
    margins = 2 * (resample.ZERO_CROSSINGS + 1) * 2 ** (semitones / 12)
    return ceil((frames + margins) * tempo) + REACH + HOP


def change(audio: np.ndarray, *, tempo: float, semitones: float, frames: int) -> np.ndarray:
    """Play `audio` at `tempo` times its speed and `semitones` higher, in exactly `frames` samples.

    The stretch runs at `tempo` over the pitch ratio, the resampling by that ratio brings the tempo
    back. Tempo 1 and 0 semitones give the first `frames` samples untouched.

    Shape: audio (..., samples) float32 -> (..., frames) float32, a new array.

    Raises:
        UserError: the input is too short, or the stretch that is needed not between 0.25 and 4.
    """
    pitch = pitch_ratio(semitones)
    longer = resample.frames_needed(frames, pitch)
    stretched = stretch(audio, stretch_tempo(pitch, tempo), longer)
    return stretched if pitch == 1 else resample.resample(stretched, pitch, frames)


def pitch_ratio(semitones: float) -> Fraction:
    """The rational ratio of `semitones`."""
    if not (-24 <= semitones <= 24):
        raise UserError(
            f"A pitch change of {semitones} semitones came; it must lie between -24 and 24."
        )
    return resample.fraction(2 ** (semitones / 12))


def stretch_tempo(pitch: Fraction, tempo: float) -> float:
    """What the stretch does; nothing where resampling alone is right to 0.1 ms a second."""
    before = tempo / float(pitch)
    return 1.0 if abs(before - 1) < 1e-4 else before


def hop_length(tempo: float) -> int:
    """The length of a hop; shortest where half of it is cross-fade."""
    if not (0.25 <= tempo <= 4):
        raise UserError(
            f"A stretch to {tempo} times the speed came (tempo divided by pitch ratio);"
            " it must lie between 0.25 and 4."
        )
    free = round(DRIFT / max(abs(tempo - 1), 1e-3))
    return min(HOP, max(2 * OVERLAP, free))


def due_starts(tempo: float, frames: int) -> list[int]:
    """Where in the input each hop but the first should begin for its middle to be on time."""
    step = hop_length(tempo)
    ahead = max(-DRIFT, min(DRIFT, step * (tempo - 1))) / 2
    return [round(hop * step * tempo + ahead) for hop in range(1, ceil(frames / step))]


def _plan(rows: np.ndarray, tempo: float, frames: int) -> list[int]:
    """Where in the input each hop of the output begins."""
    mono = _mono(rows)
    coarse = _decimate(mono)
    width, reach = OVERLAP // DECIMATION, SEARCH // DECIMATION
    norm = _norm(coarse, width)
    inverse = 1 / norm
    before = _onsets(mono, len(coarse))  # attacks up to the start of a cross-fade ...
    after = before[width:]  # ... and up to its end
    step = hop_length(tempo)
    starts = [0]
    for due in due_starts(tempo, frames):
        natural = starts[-1] + step
        if abs(natural - due) < IDLE:
            starts.append(natural)
            continue
        begin = natural // DECIMATION
        low = max(2, due // DECIMATION - reach)  # the second search looks FINE samples further back
        high = low + 2 * reach + 1
        match = np.correlate(coarse[low : high + width - 1], coarse[begin : begin + width])
        match *= inverse[low:high]
        match += FLOOR * norm[begin]  # all is in units of the template's norm
        match *= NEARNESS
        lost = 0.0
        if before[min(low, begin)] < after[max(high, begin)]:
            # A jump should neither lose nor repeat an attack; going on without one does neither.
            losses = np.maximum(after[low:high] - before[begin], after[begin] - before[low:high])
            if low <= begin < high:
                losses[begin - low] = 0
            match -= losses * norm[begin]
            lost = losses[match.argmax()]
        best = low + int(match.argmax())
        if best == begin or (lost > ONSET_HEEDED and abs(natural - due) < WAIT):
            starts.append(natural)
        else:
            # Both are rounded down alike, so the start keeps its place inside a decimated step.
            starts.append(_fine(mono, natural + (best - begin) * DECIMATION, natural))
    return starts


def _fine(mono: np.ndarray, near: int, natural: int) -> int:
    """Where close to `near` the overlap differs least, squared, from the one at `natural`."""
    found = mono[near - FINE : near + FINE + OVERLAP]
    match = np.correlate(found, mono[natural : natural + OVERLAP])
    match *= 2
    entering, leaving = found[OVERLAP:], found[: 2 * FINE]
    match[1:] -= np.cumsum((entering - leaving) * (entering + leaving))
    return near - FINE + int(match.argmax())


def _mono(rows: np.ndarray) -> np.ndarray:
    """The channels' sum, in falling weights: channels of opposite sign don't cancel."""
    mono = rows[0]
    for channel, row in enumerate(rows[1:], 1):
        mono = mono + row * np.float32(0.75**channel)
    return mono


def _decimate(mono: np.ndarray) -> np.ndarray:
    """Halve the rate by (1, 2, 1), which is zero where the new rate folds onto 0 Hz, and again."""
    rate = DECIMATION
    while rate > 1:
        count = (len(mono) - 1) // 2
        halved = mono[1 : 2 * count : 2] * np.float32(2)
        halved += mono[0 : 2 * count - 1 : 2]
        halved += mono[2 : 2 * count + 1 : 2]
        mono, rate = halved, rate // 2
    return mono


def _norm(signal: np.ndarray, width: int) -> np.ndarray:
    """The norm of every window of `width` samples; next to nothing, but not 0, in silence."""
    energy = np.zeros(len(signal) + 1)
    np.cumsum(signal * signal, dtype=np.float64, out=energy[1:])
    window = (energy[width:] - energy[:-width]).astype(np.float32)
    # What the sums leave of a loud past in a silent window is no energy.
    return np.sqrt(
        np.maximum(window, np.float32(energy[-1] * 1e-12 + 1e-30), out=window), out=window
    )


def _onsets(mono: np.ndarray, count: int) -> np.ndarray:
    """How many attacks lie before each decimated sample, in the whole band or in the highs."""
    used = (len(mono) - 1) // ONSET_BLOCK * ONSET_BLOCK
    rise = np.maximum(_rise(mono[:used]), _rise(np.diff(mono[: used + 1])))
    onsets = np.zeros(ceil(count / (ONSET_BLOCK // DECIMATION)) + 1, np.float32)
    # Every attack is seen by as many blocks as look ahead to it, and shall count once in all.
    np.cumsum(rise / ONSET_NOW, out=onsets[ONSET_PAST + 1 : ONSET_PAST + 1 + len(rise)])
    onsets[ONSET_PAST + 1 + len(rise) :] = onsets[ONSET_PAST + len(rise)]
    return np.repeat(onsets, ONSET_BLOCK // DECIMATION)[:count]


def _rise(signal: np.ndarray) -> np.ndarray:
    """From 0 to 1, an attack, for each block: how far the power goes up there."""
    blocks = signal.reshape(-1, ONSET_BLOCK)
    energy = np.zeros(len(blocks) + 1)
    np.cumsum(np.einsum("ij,ij->i", blocks, blocks), out=energy[1:])
    floor = energy[-1] / len(energy) * 1e-3 + 1e-30
    ahead = (energy[ONSET_PAST + ONSET_NOW :] - energy[ONSET_PAST:-ONSET_NOW]) / ONSET_NOW
    behind = (energy[ONSET_PAST:-ONSET_NOW] - energy[: -ONSET_PAST - ONSET_NOW]) / ONSET_PAST
    return np.log2((ahead + floor) / (behind + floor) / ONSET_RISE).clip(0, 1)


def _splice(rows: np.ndarray, output: np.ndarray, starts: list[int], hop: int) -> None:
    """Copy the hops, each faded in from what would have followed the one before it."""
    windows = sliding_window_view(rows, OVERLAP, axis=1)
    begins = np.array(starts)
    old = windows[:, begins[:-1] + hop]
    faded = windows[:, begins[1:]]
    faded -= old
    faded *= FADE
    faded += old
    frames = output.shape[1]
    for index, start in enumerate(starts):
        begin, end = index * hop, min((index + 1) * hop, frames)
        output[:, begin:end] = rows[:, start : start + end - begin]
        if index:
            size = min(OVERLAP, end - begin)
            output[:, begin : begin + size] = faded[:, index - 1, :size]
