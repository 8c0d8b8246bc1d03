"""Tempo and pitch of a whole batch on its device: `stretch` and `resample` as torch operations.

The arithmetic is that of the numpy form, one item beside the other. Sums run in another order, so
samples agree to 1e-5 of full scale as long as both choose the same splices, which they do unless
two places match equally well; then either is as good. No gradient is made. Its many small steps are
for an accelerator: on a processor the numpy form is several times faster.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import lru_cache
from math import ceil

import torch
from torch import Tensor

from sepexp.dsp import resample, stretch
from sepexp.errors import UserError


def frames_needed(frames: int, *, tempo: Sequence[float], semitones: Sequence[float]) -> int:
    """How many input samples the greediest item of a batch reads."""
    pairs = zip(tempo, semitones, strict=True)
    return max(stretch.frames_needed_for(frames, tempo=t, semitones=s) for t, s in pairs)


@torch.no_grad()
def change(
    audio: Tensor, *, tempo: Sequence[float], semitones: Sequence[float], frames: int
) -> Tensor:
    """Play each item at its own `tempo` and so many `semitones` higher, in `frames` samples.

    Shape: audio (items, channels, samples) float32 -> (items, channels, frames) float32.

    Raises:
        UserError: the input is shorter than `frames_needed`, or a number is out of range.
    """
    items, channels, samples = audio.shape
    needed = frames_needed(frames, tempo=tempo, semitones=semitones)
    if samples < needed or len(tempo) != items:
        raise UserError(
            f"{items} items of {samples} samples and {len(tempo)} tempos came; {frames} samples at"
            f" these tempos and pitches need {needed} samples and a tempo for each item."
        )
    pitches = [stretch.pitch_ratio(value) for value in semitones]
    longer = [resample.frames_needed(frames, pitch) for pitch in pitches]
    tempos = [stretch.stretch_tempo(*pair) for pair in zip(pitches, tempo, strict=True)]
    with _full_precision(audio.device.type):
        stretched = _stretch(audio.float(), tempos, longer)
        return _resample(stretched, pitches, frames)


@contextmanager
def _full_precision(device: str) -> Iterator[None]:
    """No TF32, no autocast: ten bits of mantissa would be noise at -60 dB."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def _stretch(audio: Tensor, tempos: list[float], frames: list[int]) -> Tensor:
    """Shape: (items, channels, samples) -> (items, channels, longest of frames)."""
    steps = torch.tensor([stretch.hop_length(tempo) for tempo in tempos], device=audio.device)
    starts = _plan(audio, tempos, frames, steps)
    place = torch.arange(max(frames), device=audio.device)
    hop = place // steps[:, None]  # (items, frames)
    hop = hop.clamp(max=starts.shape[1] - 1)
    inside = place - hop * steps[:, None]
    new = _take(audio, starts.gather(1, hop) + inside)
    natural = starts.gather(1, (hop - 1).clamp(min=0)) + steps[:, None]
    old = _take(audio, natural + inside)
    fade = torch.from_numpy(stretch.FADE).to(audio.device)
    fading = (hop > 0) & (inside < stretch.OVERLAP)
    weight = fade[inside.clamp(0, stretch.OVERLAP - 1)]
    return torch.where(fading[:, None], (new - old) * weight[:, None] + old, new)


def _take(audio: Tensor, index: Tensor) -> Tensor:
    """Shape: audio (items, channels, samples), index (items, n) -> (items, channels, n)."""
    index = index.clamp(0, audio.shape[2] - 1)
    return audio.gather(2, index[:, None].expand(-1, audio.shape[1], -1))


def _plan(audio: Tensor, tempos: list[float], frames: list[int], steps: Tensor) -> Tensor:
    """Where in the input each hop begins; all items search in step. Shape: (items, hops)."""
    device = audio.device
    needed = [stretch.frames_needed(*pair) for pair in zip(frames, tempos, strict=True)]
    length = torch.tensor(needed, device=device)[:, None]
    mono = _mono(audio)[:, : max(needed)]
    mono = torch.where(torch.arange(mono.shape[1], device=device) < length, mono, 0.0)
    coarse = _decimate(mono)
    norm = _norm(coarse, stretch.OVERLAP // stretch.DECIMATION)
    before = _onsets(mono, coarse.shape[1], length)
    dues = [stretch.due_starts(*pair) for pair in zip(tempos, frames, strict=True)]
    hops = max(map(len, dues))
    # Items that are done go on from their last place; nobody reads what they find there.
    padded = [due + [needed[item] // 2] * (hops - len(due)) for item, due in enumerate(dues)]
    schedule = torch.tensor(padded, device=device).reshape(len(dues), hops)
    starts = [torch.zeros_like(steps)]
    for hop in range(hops):
        natural = starts[-1] + steps
        best = _search(coarse, norm, before, natural, schedule[:, hop])
        jump = (natural - schedule[:, hop]).abs() >= stretch.IDLE
        found = _fine(mono, best.clamp(max=mono.shape[1]), natural)
        starts.append(torch.where(jump & (best != natural), found, natural))
    return torch.stack(starts, dim=1)


def _search(coarse: Tensor, norm: Tensor, before: Tensor, natural: Tensor, due: Tensor) -> Tensor:
    """The start that matches best and spares attacks, to a decimated sample. Shape: (items,)."""
    width, reach = stretch.OVERLAP // stretch.DECIMATION, stretch.SEARCH // stretch.DECIMATION
    begin = natural // stretch.DECIMATION
    low = (due // stretch.DECIMATION - reach).clamp(min=2)
    place = low[:, None] + torch.arange(2 * reach + 1, device=coarse.device)
    template = _windows(coarse, begin, width)
    candidates = _windows(coarse, low, 2 * reach + width).unfold(1, width, 1)
    match = (candidates * template[:, None]).sum(2)
    scale = _at(norm, begin)
    match = match / _at(norm, place) + float(stretch.FLOOR) * scale
    match = match * torch.from_numpy(stretch.NEARNESS).to(coarse.device)
    ahead = _at(before, place + width) - _at(before, begin)
    behind = _at(before, begin + width) - _at(before, place)
    losses = torch.where(place == begin[:, None], 0.0, torch.maximum(ahead, behind))
    best = (match - losses * scale).argmax(1, keepdim=True)
    attacked = losses.gather(1, best)[:, 0] > stretch.ONSET_HEEDED
    waits = attacked & ((natural - due).abs() < stretch.WAIT)
    return torch.where(waits, natural, natural + (low + best[:, 0] - begin) * stretch.DECIMATION)


def _fine(mono: Tensor, near: Tensor, natural: Tensor) -> Tensor:
    """Where close to `near` the overlap differs least, squared. Shape: (items,)."""
    found = _windows(mono, near - stretch.FINE, 2 * stretch.FINE + stretch.OVERLAP)
    template = _windows(mono, natural, stretch.OVERLAP)
    match = 2 * (found.unfold(1, stretch.OVERLAP, 1) * template[:, None]).sum(2)
    entering, leaving = found[:, stretch.OVERLAP :], found[:, : 2 * stretch.FINE]
    match[:, 1:] -= ((entering - leaving) * (entering + leaving)).cumsum(1)
    return near - stretch.FINE + match.argmax(1)


def _windows(signal: Tensor, begin: Tensor, width: int) -> Tensor:
    """Shape: signal (items, samples), begin (items,) -> (items, width)."""
    place = begin[:, None] + torch.arange(width, device=signal.device)
    return signal.gather(1, place.clamp(0, signal.shape[1] - 1))


def _at(signal: Tensor, place: Tensor) -> Tensor:
    """Shape: signal (items, samples), place (items,) or (items, n) -> (items, 1) or (items, n)."""
    place = place[:, None] if place.ndim == 1 else place
    return signal.gather(1, place.clamp(0, signal.shape[1] - 1))


def _mono(audio: Tensor) -> Tensor:
    mono = audio[:, 0]
    for channel in range(1, audio.shape[1]):
        mono = mono + audio[:, channel] * 0.75**channel
    return mono


def _decimate(mono: Tensor) -> Tensor:
    rate = stretch.DECIMATION
    while rate > 1:
        count = (mono.shape[1] - 1) // 2
        middle = mono[:, 1 : 2 * count : 2] * 2
        mono = middle + mono[:, 0 : 2 * count - 1 : 2] + mono[:, 2 : 2 * count + 1 : 2]
        rate //= 2
    return mono


def _norm(signal: Tensor, width: int) -> Tensor:
    energy = torch.nn.functional.pad((signal * signal).cumsum(1, dtype=torch.float64), (1, 0))
    window = (energy[:, width:] - energy[:, :-width]).float()
    return torch.maximum(window, (energy[:, -1:] * 1e-12 + 1e-30).float()).sqrt()


def _onsets(mono: Tensor, count: int, length: Tensor) -> Tensor:
    """Attacks before each decimated sample. Shape: (items, samples) -> (items, count)."""
    block, past, now = stretch.ONSET_BLOCK, stretch.ONSET_PAST, stretch.ONSET_NOW
    blocks = (length - 1) // block  # that each item's own length holds
    used = (mono.shape[1] - 1) // block * block
    whole, edges = _rise(mono[:, :used], blocks), _rise(mono[:, : used + 1].diff(dim=1), blocks)
    rise = torch.maximum(whole, edges) / now
    rise = torch.where(
        torch.arange(rise.shape[1], device=mono.device) > blocks - past - now, 0.0, rise
    )
    onsets = torch.nn.functional.pad(rise.cumsum(1), (past + 1, 0)).float()
    return onsets.repeat_interleave(block // stretch.DECIMATION, dim=1)[:, :count]


def _rise(signal: Tensor, blocks: Tensor) -> Tensor:
    block, past, now = stretch.ONSET_BLOCK, stretch.ONSET_PAST, stretch.ONSET_NOW
    power = signal.square().unflatten(1, (-1, block)).sum(2)
    energy = torch.nn.functional.pad(power.cumsum(1, dtype=torch.float64), (1, 0))
    floor = energy.gather(1, blocks) / (blocks + 1) * 1e-3 + 1e-30
    ahead = (energy[:, past + now :] - energy[:, past:-now]) / now
    behind = (energy[:, past:-now] - energy[:, : -past - now]) / past
    return torch.log2((ahead + floor) / (behind + floor) / stretch.ONSET_RISE).clamp(0, 1)


def _resample(audio: Tensor, pitches: list[Fraction], frames: int) -> Tensor:
    """One ratio at a time. Shape: (items, channels, samples) -> (items, channels, frames)."""
    output = audio.new_empty(audio.shape[0], audio.shape[1], frames)
    for pitch in sorted(set(pitches)):
        items = [item for item, other in enumerate(pitches) if other == pitch]
        chosen = audio[items, :, : resample.frames_needed(frames, pitch)]
        output[items] = chosen if pitch == 1 else _polyphase(chosen, pitch, frames)
    return output


def _polyphase(audio: Tensor, pitch: Fraction, frames: int) -> Tensor:
    """The tables of `resample` times one strided view of all rows laid end to end."""
    items, channels, samples = audio.shape
    inputs, outputs, starts, tables = _tables(pitch, audio.device)
    height = ceil(frames / outputs)
    reads = max(start + len(table) for start, table in zip(starts, tables, strict=True))
    # What a row reads beyond its end is the next row's, for outputs beyond `frames` only: a row is
    # laid out with all that its own outputs read.
    periods = max(height, ceil(samples / inputs))
    laid = audio.new_zeros(items * channels * periods * inputs + reads)
    laid[:-reads].view(items, channels, -1)[:, :, :samples] = audio
    products = [
        laid.as_strided((items * channels * periods, len(table)), (inputs, 1), start) @ table
        for start, table in zip(starts, tables, strict=True)
    ]
    return torch.cat(products, dim=1).view(items, channels, -1)[:, :, :frames]


@lru_cache(maxsize=64)
def _tables(
    pitch: Fraction, device: torch.device
) -> tuple[int, int, tuple[int, ...], tuple[Tensor, ...]]:
    phases = resample.phases_of(pitch)
    tables = tuple(torch.from_numpy(table).to(device) for table in phases.tables)
    return phases.inputs, phases.outputs, phases.starts, tables
