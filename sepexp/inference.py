"""Separate a whole song: chunks with context, overlap-add, shifts, other rates and channel counts.

Validation, the test and the `separate` command all go through `separate`, so they can't disagree.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

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
        return sinc_resample(
            waveform.float(), source, target, lowpass_filter_width=32, rolloff=0.95
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
    mixture: Tensor,
    *,
    sample_rate: int,
    inference: Inference,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """A song's stems, as long as the song and at its rate, whatever the model works at.

    A mono model separates each channel of the song by itself; a stereo model hears a mono song
    twice and its estimates are averaged.

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
        signal = resample(mixture, sample_rate, model.sample_rate)
        if model.channels == 1 and channels > 1:
            stems = torch.cat(
                [_shifted(model, signal[c : c + 1], inference, progress) for c in range(channels)],
                dim=-2,
            )
        else:
            stems = _shifted(model, to_channels(signal, model.channels), inference, progress)
            if channels == 1:
                stems = stems.mean(dim=-2, keepdim=True)
        stems = resample(stems, model.sample_rate, sample_rate)
    finally:
        model.train(training)
    stems = F.pad(stems, (0, max(0, samples - stems.shape[-1])))[..., :samples]
    return stems.to(mixture.device)


def _shifted(model: Any, signal: Tensor, inference: Inference, progress: Callable | None) -> Tensor:
    """Mean over random time shifts, each undone (the same offsets for every song)."""
    if not inference.shifts:
        return _chunked(model, signal, inference, progress)
    samples = signal.shape[-1]
    room = max(1, int(inference.max_shift * model.sample_rate))
    padded = F.pad(signal, (room, room))
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros(())
    for offset in torch.randint(room, (inference.shifts,), generator=generator).tolist():
        estimate = _chunked(
            model, padded[..., offset : room + offset + samples], inference, progress
        )
        total = total + estimate[..., room - offset : room - offset + samples]
    return total / inference.shifts


def _chunked(model: Any, signal: Tensor, inference: Inference, progress: Callable | None) -> Tensor:
    """(channels, samples) at the model's rate -> (targets, channels, samples) by overlap-add."""
    samples = signal.shape[-1]
    context = model.context
    device = next(iter([*model.parameters(), *model.buffers()]), signal).device
    chunk = samples
    if inference.segment is not None:
        chunk = min(samples, math.ceil(inference.segment * model.sample_rate))
    starts = chunk_starts(samples, chunk, inference.overlap)
    padded = F.pad(signal, (context, context))
    weight = fade(chunk, power=inference.fade_power, device=signal.device)
    total: Tensor | None = None
    weights = torch.zeros(samples, device=signal.device)
    for first in range(0, len(starts), inference.batch_size):
        group = starts[first : first + inference.batch_size]
        batch = torch.stack([padded[:, s : s + chunk + 2 * context] for s in group])
        estimates = model(batch.to(device)).waveforms.to(signal.device).float()
        if total is None:
            total = estimates.new_zeros(*estimates.shape[1:3], samples)
        for start, estimate in zip(group, estimates, strict=True):
            total[..., start : start + chunk] += estimate * weight
            weights[start : start + chunk] += weight
        if progress is not None:
            progress(first + len(group), len(starts))
    assert total is not None
    return total / weights
