"""Cutting a long signal into overlapping chunks and fading them back together."""

from __future__ import annotations

import torch
from torch import Tensor


def chunk_starts(samples: int, chunk: int, overlap: float) -> list[int]:
    """Where chunks begin so that they cover the signal; the last one ends with it.

    Args:
        samples: Length of the signal.
        chunk: Length of a chunk, at most the signal's.
        overlap: Share of a chunk that the next one repeats, at least 0 and under 1.
    """
    step = max(1, round(chunk * (1 - overlap)))
    return [*range(0, max(0, samples - chunk), step), max(0, samples - chunk)]


def fade(chunk: int, *, power: float = 1.0, device: torch.device | None = None) -> Tensor:
    """A triangle over a chunk, positive everywhere, so that a weighted mean is always defined.

    Shape: (chunk,).
    """
    ramp = torch.arange(1, chunk + 1, device=device, dtype=torch.float32)
    triangle = torch.minimum(ramp, ramp.flip(0))
    return (triangle / triangle.max()) ** power
