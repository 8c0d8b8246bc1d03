"""Mean and deviation of every frequency bin over the training songs."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


@torch.no_grad()
def bin_statistics(
    tracks: Iterable[tuple[Tensor, Tensor]], features: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the mixtures' features for each bin, in float32.

    Channels are averaged first, as Open-Unmix does. The deviation is at least 1e-4 of the largest
    one, so that a bin that is empty in the training songs is not blown up by its inverse.

    Args:
        tracks: Pairs of a song's mixture (channels, samples) and its targets.
        features: From (channels, samples) to (channels, freq, frames).

    Shape:
        -> two tensors (freq,).
    """
    count, total, squares = 0, torch.zeros(1), torch.zeros(1)
    for mixture, _ in tracks:
        frames = features(mixture).mean(0).double()
        if count == 0:  # what is summed is the distance to the first song's mean: no cancellation
            offset = frames.mean(-1, keepdim=True)
            total, squares = torch.zeros_like(offset[:, 0]), torch.zeros_like(offset[:, 0])
        centred = frames - offset
        count += frames.shape[-1]
        total = total + centred.sum(-1)
        squares = squares + centred.square().sum(-1)
    mean = total / count
    deviation = (squares / count - mean.square()).clamp_min(0).sqrt()
    deviation = deviation.clamp_min(max(1e-4 * deviation.max().item(), 1e-12))
    return (offset[:, 0] + mean).float(), deviation.float()
