"""A song's mixture that is read where it is sliced, so that separating never holds all of it."""

from __future__ import annotations

from types import EllipsisType

import numpy as np
import torch
from torch import Tensor

from sepexp import audio
from sepexp.data.convert import adapt
from sepexp.data.track import Track


class Windows:
    """Stands where a tensor (channels, samples) would, as far as shape, slices and device go.

    Args:
        track: The song; it is read at its own rate.
        start: Where the excerpt begins.
        frames: Its length.
        channels: What comes out has so many; others are repeated or averaged.
        device: Where slices are put.
    """

    def __init__(
        self,
        track: Track,
        *,
        start: int,
        frames: int,
        channels: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.track, self.start, self.channels = track, start, channels
        self.shape, self.dtype = torch.Size((channels, frames)), torch.float32
        self.device = torch.device(device)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Windows:
        """The same song with its slices elsewhere; Lightning calls this at a batch's transfer."""
        return Windows(
            self.track,
            start=self.start,
            frames=self.shape[-1],
            channels=self.channels,
            device=device,
        )

    def __getitem__(self, place: tuple[EllipsisType, slice]) -> Tensor:
        """`[..., first:last]`, the samples that a tensor would give. Shape: (channels, samples)."""
        first, last, _ = place[-1].indices(self.shape[-1])
        frames = max(0, last - first)
        stem = adapt(self.track.read_mixture(self.start + first, frames), self.channels)
        return torch.from_numpy(np.ascontiguousarray(audio.as_float(stem))).to(self.device)
