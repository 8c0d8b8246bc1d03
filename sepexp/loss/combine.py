"""Losses made of losses: weighted sums, weights by target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from sepexp.separation import Separation


class WeightedSum(nn.Module):
    """A weighted sum of losses; a term of weight 0 is not computed.

    Args:
        terms: The losses by name.
        weights: Their weights by the same names; a term without one weighs 0.

    Raises:
        ValueError: A weight names no term, or all of them are 0.
    """

    def __init__(self, *, terms: Mapping[str, nn.Module], weights: Mapping[str, float]) -> None:
        super().__init__()
        strangers = sorted(set(weights) - set(terms))
        if strangers:
            raise ValueError(f"weights for {', '.join(strangers)}, but no such terms")
        self.weights = {name: float(weight) for name, weight in weights.items() if weight}
        if not self.weights:
            raise ValueError("every weight of the sum of losses is 0: give one, as weights.l1=1")
        self.terms = nn.ModuleDict({name: terms[name] for name in self.weights})
        self.needs_spectra = any(getattr(t, "needs_spectra", False) for t in self.terms.values())
        self.needs_waveforms = any(getattr(t, "needs_waveforms", True) for t in self.terms.values())

    def forward(self, estimate: Separation, truth: Separation, mixture: Tensor) -> Tensor:
        """(batch, targets)."""
        losses = [
            weight * self.terms[name](estimate, truth, mixture)
            for name, weight in self.weights.items()
        ]
        return torch.stack(losses).sum(0)


class TargetWeights(nn.Module):
    """Another loss with a weight for each target, in the order of the targets.

    The weights are divided by their mean, so that the loss keeps its size.
    """

    weights: Tensor

    def __init__(self, *, loss: nn.Module, weights: Sequence[float]) -> None:
        super().__init__()
        if min(weights) < 0 or sum(weights) == 0:
            raise ValueError(f"target weights {list(weights)}: none may be negative, nor all 0")
        self.loss = loss
        self.needs_spectra = getattr(loss, "needs_spectra", False)
        self.needs_waveforms = getattr(loss, "needs_waveforms", True)
        values = torch.tensor(weights, dtype=torch.float32)
        self.register_buffer("weights", values / values.mean(), persistent=False)

    def forward(self, estimate: Separation, truth: Separation, mixture: Tensor) -> Tensor:
        """(batch, targets)."""
        return self.loss(estimate, truth, mixture) * self.weights
