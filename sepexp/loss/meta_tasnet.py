"""Meta-TasNet's loss: scale-invariant SDR of every stage and three terms on latents."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sepexp.loss.time import NegativeSISDR
from sepexp.nn.doubling import Doubling
from sepexp.separation import Separation


class StagedSISDR(nn.Module):
    """Negative SI-SDR of all stages, with reconstruction, dissimilarity and similarity terms.

    After Samuel, Ganeshan and Naradowsky, arXiv 2002.07016, where the terms on latents read those
    of the true stems; here they read those of the estimates, which are what a model hands over.
    Terms that belong to no target are shared out equally, so that the mean over targets keeps the
    published proportions. Without extras, outside training, the last stage's SI-SDR is all.

    Args:
        reconstruction: Weight of the SI-SDR of the mixture's latent decoded without masks.
        dissimilarity: Weight of the cosine similarity between targets' absolute latents.
        similarity: Weight of that between an item's latent and its neighbour's in the batch.
        floor_db: See `NegativeSISDR`.
    """

    def __init__(
        self,
        *,
        reconstruction: float,
        dissimilarity: float,
        similarity: float,
        floor_db: float,
    ) -> None:
        super().__init__()
        self.reconstruction = reconstruction
        self.dissimilarity, self.similarity = dissimilarity, similarity
        self.distance = NegativeSISDR(zero_mean=False, floor_db=floor_db)
        self.halve = Doubling()

    def forward(self, estimate: Separation, truth: Separation, mixture: Tensor) -> Tensor:
        """(batch, targets), in dB but for the weights."""
        extras = estimate.extras or {}
        stages = sum(key.startswith("waveforms") for key in extras)
        if not stages:
            return self.distance(estimate, truth, mixture)
        targets = truth.waveforms.shape[1]
        waves, total = truth.waveforms.flatten(1, 2), torch.zeros(())
        for number in range(stages, 0, -1):
            guess = extras[f"waveforms{number}"]
            true = waves.unflatten(1, (targets, -1))
            guess = guess[..., : true.shape[-1]]  # the model may have padded
            loss = self.distance(Separation(guess), Separation(true), mixture)
            shared = self.reconstruction * self.distance(
                Separation(extras[f"reconstruction{number}"][:, None]),
                Separation(extras[f"mixture{number}"][:, None]),
                mixture,
            )
            latents = extras[f"latents{number}"].float()
            shared = shared + self.dissimilarity * between_targets(latents)[:, None]
            loss = loss - self.similarity * between_items(latents) / targets
            total = loss + shared / targets + total
            waves = self.halve.undo(waves)
        return total


def between_targets(latents: Tensor) -> Tensor:
    """Mean cosine similarity of absolute latents over pairs of targets, frames and channels.

    Shape:
        (batch, channels, targets, bases, frames) -> (batch,).
    """
    size = latents.abs()
    pairs = list(combinations(range(latents.shape[2]), 2))
    if not pairs:
        return latents.new_zeros(len(latents))
    alike = [F.cosine_similarity(size[:, :, a], size[:, :, b], dim=2) for a, b in pairs]
    return torch.stack(alike).mean(dim=(0, 2, 3))


def between_items(latents: Tensor) -> Tensor:
    """Mean cosine similarity of a target's latents in one item and the next.

    Shape:
        (batch, channels, targets, bases, frames) -> (batch, targets).
    """
    alike = F.cosine_similarity(latents, latents.roll(1, dims=0), dim=3)
    return alike.mean(dim=(1, 3))
