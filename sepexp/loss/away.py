"""An error that also drives an estimate away from what it is not."""

from __future__ import annotations

from torch import Tensor, nn

from sepexp.separation import Separation


class L1Away(nn.Module):
    """Mean absolute error minus a little of that to the rest of the mixture.

    The dissimilarity term of the regression Wavenet's singing-voice form (Lluís et al., arXiv
    1810.12187), whose rest is the accompaniment; there only the predicted target has a loss.

    Args:
        weight: Of the distance to the rest, well below 1 or there is no lower bound.
    """

    def __init__(self, *, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, estimate: Separation, truth: Separation, mixture: Tensor) -> Tensor:
        """(batch, targets)."""
        rest = mixture[:, None] - truth.waveforms
        error = (estimate.waveforms - truth.waveforms).abs().mean(dim=(-2, -1))
        return error - self.weight * (estimate.waveforms - rest).abs().mean(dim=(-2, -1))
