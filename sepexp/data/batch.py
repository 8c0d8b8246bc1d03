"""What travels from the data to the training and validation steps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sepexp.data.chunks import Example
from sepexp.data.windows import Windows


class Batch(NamedTuple):
    """Training chunks; the data module makes them augmented floats after the transfer.

    Shape:
        stems: (batch, sources, channels, samples + 2 context); in the store's type as read, float32
            in [-1, 1] (before gain) after the transfer.
        present: (batch, sources) bool; False: the song has no such stem (not: it is silent).
        index: (batch,) int64 numbers of the examples.
        songs: (batch, sources) int64 into the training songs.
        numbers: each (batch, sources): what pointwise augmentations drew, and the stems' `scale`
            as long as they are raw.
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


def nothing(sources: int, channels: int) -> Whole:
    """The marker for a rank that has no song to validate."""
    empty = np.zeros((sources, channels, 0), np.float32)
    return Whole(
        "",
        torch.zeros(channels, 0),
        torch.from_numpy(empty),
        torch.zeros(sources, dtype=torch.bool),
    )
