"""Losses of sums of targets: the combination loss of X-UMX (Sawata et al., arXiv 2010.04631)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor, nn

from sepexp.separation import Separation


class Combination(nn.Module):
    """Another loss on every sum of one to `most` targets.

    A target's value is the sum over the combinations with it, each shared evenly by its members,
    scaled so that the mean over targets is the mean over combinations.

    Args:
        loss: What is computed on every sum, in one call.
        most: Targets in the largest sum; None: all but one.
    """

    def __init__(self, *, loss: nn.Module, most: int | None) -> None:
        super().__init__()
        self.loss, self.most = loss, most
        self.needs_spectra = getattr(loss, "needs_spectra", False)
        self.needs_waveforms = getattr(loss, "needs_waveforms", True)

    def forward(self, estimate: Separation, truth: Separation, mixture: Tensor) -> Tensor:
        """(batch, targets)."""
        targets = truth.waveforms.shape[1]
        members = membership(targets, self.most or max(1, targets - 1)).to(mixture.device)
        losses = self.loss(summed(estimate, members), summed(truth, members), mixture)
        share = members / members.sum(1, keepdim=True) * (targets / len(members))
        return losses @ share.to(losses.dtype)


def membership(targets: int, most: int) -> Tensor:
    """Which targets a combination has, as ones: (combinations, targets)."""
    chosen: list[Sequence[int]] = [
        c for size in range(1, most + 1) for c in combinations(range(targets), size)
    ]
    return torch.stack([torch.zeros(targets).index_fill(0, torch.tensor(c), 1.0) for c in chosen])


def summed(separation: Separation, members: Tensor) -> Separation:
    """The sums of targets in place of the targets; extras stay behind."""

    def add(values: Tensor) -> Tensor:
        return torch.stack([values[:, row.bool()].sum(1) for row in members], dim=1)

    spectra = None if separation.spectra is None else add(separation.spectra)
    return Separation(add(separation.waveforms), spectra)
