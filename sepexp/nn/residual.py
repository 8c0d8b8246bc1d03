"""The target that nobody predicts."""

from __future__ import annotations

import torch
from torch import Tensor


def insert_residual(waveforms: Tensor, mixture: Tensor, index: int) -> Tensor:
    """Put mixture minus all estimates at a place among them, so that they sum to the mixture.

    Args:
        index: Place in the result; negative ones count from its end.

    Shape:
        waveforms (batch, targets - 1, channels, samples), mixture (batch, channels, samples) ->
        (batch, targets, channels, samples).
    """
    targets = waveforms.shape[1] + 1
    if not -targets <= index < targets:
        raise IndexError(f"residual index is {index}, but there are {targets} targets")
    rest = (mixture - waveforms.sum(dim=1))[:, None]
    place = index % targets
    return torch.cat([waveforms[:, :place], rest, waveforms[:, place:]], dim=1)
