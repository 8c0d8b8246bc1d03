"""Separate a whole song: chunks with context, overlap-add, shifts, other rates and channel counts.

Validation, the test and the `separate` command all go through `separate`, so they can't disagree.
A song may be a tensor or lie in a file: it is asked for one window at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import EllipsisType
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from sepexp.dsp.overlap import chunk_starts, fade
from sepexp.errors import UserError


class Inference(NamedTuple):
    """How a long signal is cut and put together again.

    segment: seconds of a chunk, None for the whole song at once. overlap: share of a chunk that
    the next one repeats. batch_size: chunks at a time. fade_power: exponent of the triangular
    cross-fade. shifts: predictions at random offsets that are averaged (Demucs, arXiv 1911.13254;
    0 for none). max_shift: seconds.
    """

    segment: float | None
    overlap: float
    batch_size: int
    fade_power: float
    shifts: int
    max_shift: float


class Song(Protocol):
    """What can be separated: a tensor (channels, samples), or something that reads its slices."""

    @property
    def shape(self) -> torch.Size: ...
    @property
    def device(self) -> torch.device: ...
    def __getitem__(self, place: tuple[EllipsisType, slice]) -> Tensor: ...


Read = Callable[[int, int], Tensor]  # from a sample to another -> (channels, samples)


def settings(
    *,
    segment: float | None,
    overlap: float,
    batch_size: int,
    fade_power: float,
    shifts: int,
    max_shift: float,
) -> Inference:
    """`Inference` after a look at its numbers.

    Raises:
        UserError: A number out of range.
    """
    if segment is not None and segment <= 0:
        raise UserError(f"inference.segment is {segment} s: expected more than 0, or null")
    if not 0 <= overlap < 1:
        raise UserError(f"inference.overlap is {overlap}: expected at least 0 and under 1")
    if batch_size < 1 or shifts < 0:
        raise UserError(
            f"inference.batch_size is {batch_size} and shifts is {shifts}: "
            "expected at least 1 and at least 0"
        )
    return Inference(segment, overlap, batch_size, fade_power, shifts, max_shift)


def resample(waveform: Tensor, source: int, target: int) -> Tensor:
    """Band-limited change of rate with torchaudio's windowed sinc, any leading axes.

    Shape: (..., samples) -> (..., ceil(samples * target / source)).
    """
    if source == target:
        return waveform
    from torchaudio.functional import resample as sinc_resample  # seconds to import

    with torch.autocast(waveform.device.type, enabled=False):
        # contiguous, because torchaudio views it as rows
        return sinc_resample(
            waveform.float().contiguous(), source, target, lowpass_filter_width=32, rolloff=0.95
        )


def to_channels(waveform: Tensor, channels: int) -> Tensor:
    """Average down to mono or repeat mono; the channel axis is the last but one.

    Raises:
        UserError: Neither side is mono and the counts differ.
    """
    present = waveform.shape[-2]
    if present == channels:
        return waveform
    if channels == 1:
        return waveform.mean(dim=-2, keepdim=True)
    if present == 1:
        return waveform.expand(*waveform.shape[:-2], channels, waveform.shape[-1])
    raise UserError(f"{present} channels can't become {channels}: expected mono on either side")


def at_model(waveform: Tensor, model: Any, sample_rate: int) -> Tensor:
    """A waveform at the model's own rate and channel count, for training and for statistics."""
    return resample(to_channels(waveform, model.channels), sample_rate, model.sample_rate)


@torch.no_grad()
def separate(
    model: Any,
    mixture: Song,
    *,
    sample_rate: int,
    inference: Inference,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """A song's stems, as long as the song and at its rate, whatever the model works at.

    A mono model separates each channel of the song by itself; a stereo model hears a mono song
    twice and its estimates are averaged. A song at the model's rate is read window by window.

    Args:
        model: In any mode; it is switched to evaluation and back.
        mixture: The song.
        sample_rate: Its rate in Hz.
        inference: How to cut it.
        progress: Called with the chunks done and the chunks in all.

    Shape:
        mixture (channels, samples) -> (targets, channels, samples), on the mixture's device.
    """
    channels, samples = mixture.shape
    training = model.training
    model.eval()
    try:
        song = mixture
        if sample_rate != model.sample_rate:
            song = resample(mixture[..., :], sample_rate, model.sample_rate)
        if model.channels == 1 and channels > 1:
            stems = torch.cat(
                [
                    _shifted(model, _reader(song, channel), song, inference, progress)
                    for channel in range(channels)
                ],
                dim=-2,
            )
        else:
            read = _reader(song, None)
            stems = _shifted(
                model,
                lambda first, last: to_channels(read(first, last), model.channels),
                song,
                inference,
                progress,
            )
            if channels == 1:
                stems = stems.mean(dim=-2, keepdim=True)
        stems = resample(stems, model.sample_rate, sample_rate)
    finally:
        model.train(training)
    stems = F.pad(stems, (0, max(0, samples - stems.shape[-1])))[..., :samples]
    return stems.to(mixture.device)


def _reader(song: Song, channel: int | None) -> Read:
    """Windows of a song, or of one of its channels, with silence on both sides of it."""
    samples = song.shape[-1]

    def read(first: int, last: int) -> Tensor:
        begin, end = min(max(first, 0), samples), min(max(last, 0), samples)
        window = song[..., begin:end]
        if channel is not None:
            window = window[channel : channel + 1]
        if end - begin == last - first:
            return window
        before = min(max(0, -first), last - first)
        return F.pad(window, (before, last - first - (end - begin) - before))

    return read


def _shifted(
    model: Any, read: Read, song: Song, inference: Inference, progress: Callable | None
) -> Tensor:
    """Mean over random time shifts, each undone (the same offsets for every song)."""
    samples = song.shape[-1]
    if not inference.shifts:
        return _chunked(model, read, samples, song.device, inference, progress)
    room = max(1, int(inference.max_shift * model.sample_rate))
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros(())
    for offset in torch.randint(room, (inference.shifts,), generator=generator).tolist():
        late = room - offset  # samples of silence before the song

        def moved(first: int, last: int, late: int = late) -> Tensor:
            return read(first - late, last - late)

        estimate = _chunked(model, moved, room + samples, song.device, inference, progress)
        total = total + estimate[..., late : late + samples]
    return total / inference.shifts


def _chunked(
    model: Any,
    read: Read,
    samples: int,
    device: torch.device,
    inference: Inference,
    progress: Callable | None,
) -> Tensor:
    """A song at the model's rate -> (targets, channels, samples) on `device` by overlap-add."""
    context = model.context
    place = next((part.device for part in [*model.parameters(), *model.buffers()]), device)
    # a model in half or double precision reads its own kind of numbers
    kind = next((part.dtype for part in model.parameters() if part.is_floating_point()), None)
    chunk = samples
    if inference.segment is not None:
        chunk = min(samples, math.ceil(inference.segment * model.sample_rate))
    starts = chunk_starts(samples, chunk, inference.overlap)
    weight = fade(chunk, power=inference.fade_power, device=device)
    total: Tensor | None = None
    weights = torch.zeros(samples, device=device)
    for first in range(0, len(starts), inference.batch_size):
        group = starts[first : first + inference.batch_size]
        batch = torch.stack([read(s - context, s + chunk + context) for s in group])
        estimates = model(batch.to(place, kind)).waveforms.to(device).float()
        if total is None:
            total = estimates.new_zeros(*estimates.shape[1:3], samples)
        for start, estimate in zip(group, estimates, strict=True):
            total[..., start : start + chunk] += estimate * weight
            weights[start : start + chunk] += weight
        if progress is not None:
            progress(first + len(group), len(starts))
    assert total is not None
    return total / weights
