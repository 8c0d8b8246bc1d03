"""What travels from the data to the training and validation steps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sepexp.data.chunks import LEFT, Example
from sepexp.data.windows import Windows
from sepexp.dsp import stretch_batched


class Batch(NamedTuple):
    """Training chunks; the data module makes them augmented floats after the transfer.

    Shape:
        stems: (batch, sources, channels, samples + 2 context); in the store's type as read, float32
            in [-1, 1] (before gain) after the transfer. Longer where tempo and pitch are left to
            the device, until it has changed them.
        present: (batch, sources) bool; False: the song has no such stem (not: it is silent).
        index: (batch,) int64 numbers of the examples.
        songs: (batch, sources) int64 into the training songs.
        numbers: each (batch, sources): what pointwise augmentations drew, and as long as the stems
            are raw their `scale`, and the `tempo` and `semitones` that are left to the device.
    """

    stems: Tensor
    present: Tensor
    index: Tensor  # type: ignore[assignment]  # hides a method of tuples
    songs: Tensor
    numbers: dict[str, Tensor]


class Whole(NamedTuple):
    """One whole song for validation; a rank without a song gets an empty marker, named "".

    Shape:
        mixture: (channels, samples) float32, or what reads it where it is sliced.
        stems: (sources, channels, samples) float32, zeros where a song lacks one.
        present: (sources,) bool.
    """

    name: str
    mixture: Tensor | Windows
    stems: Tensor
    present: Tensor


def view(room: Example) -> Batch:
    """Tensors over the same memory."""
    return Batch(
        torch.from_numpy(room.stems),
        torch.from_numpy(room.present),
        torch.from_numpy(room.index),
        torch.from_numpy(room.songs),
        {name: torch.from_numpy(values) for name, values in room.numbers.items()},
    )


def floats(stems: Tensor, scale: Tensor) -> Tensor:
    """Stems as float32 in fresh memory.

    Shape:
        stems: (batch, sources, channels, samples), int16 or float32.
        scale: (batch, sources).
    """
    return stems.to(torch.float32, copy=True).mul_(scale.float()[:, :, None, None])


def stretched(stems: Tensor, numbers: dict[str, Tensor], frames: int) -> Tensor:
    """Stems at the tempo and pitch that were left to the device, as fresh memory where any were.

    Shape:
        stems: (batch, sources, channels, samples) float32 -> (batch, sources, channels, frames).
        numbers: each (batch, sources); `tempo` and `semitones` best not on an accelerator, which
            they would have to be waited for.
    """
    if not all(name in numbers for name in LEFT):
        return stems
    tempo, semitones = (numbers[name].cpu().view(torch.float64).flatten().tolist() for name in LEFT)
    rows = stems.flatten(0, 1)
    pairs = enumerate(zip(tempo, semitones, strict=True))
    changed = [row for row, pair in pairs if pair != (1, 0)]
    output = rows[:, :, :frames].contiguous()
    if changed:
        output[changed] = stretch_batched.change(
            rows[changed],
            tempo=[tempo[row] for row in changed],
            semitones=[semitones[row] for row in changed],
            frames=frames,
        )
    return output.unflatten(0, stems.shape[:2])


def nothing(sources: int, channels: int) -> Whole:
    """The marker for a rank that has no song to validate."""
    empty = np.zeros((sources, channels, 0), np.float32)
    return Whole(
        "",
        torch.zeros(channels, 0),
        torch.from_numpy(empty),
        torch.zeros(sources, dtype=torch.bool),
    )
