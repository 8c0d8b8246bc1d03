"""DeepConvSep's loss: squared error minus distances to other targets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sepexp.errors import UserError
from sepexp.separation import Separation


class Dissimilarity(nn.Module):
    """Squared error of magnitudes minus weighted distances to the other targets.

    After Chandna et al., doi 10.1007/978-3-319-53547-0_25: targets other than the rest are driven
    away from each other by `alpha` and from the rest by `beta` (the voice by `beta_voice`); the
    rest has no term of its own unless `rest_weight` gives it one. Their sum's absolute value is
    taken for each target here, not once for all.

    Args:
        targets: Names in the model's order.
        rest: Name of the target that is what nothing else is; none if it is not there.
        voice: Name of the voice.
        alpha, beta, beta_voice: Weights, all small: at 1 the loss has no lower bound.
        rest_weight: Weight of the rest's own squared error, 0 in the paper.

    Raises:
        UserError: The model estimates no spectra.
    """

    needs_spectra = True
    needs_waveforms = False
    own: Tensor
    away: Tensor

    def __init__(
        self,
        *,
        targets: Sequence[str],
        rest: str,
        voice: str,
        alpha: float,
        beta: float,
        beta_voice: float,
        rest_weight: float,
    ) -> None:
        super().__init__()
        names = list(targets)
        own = [rest_weight if name == rest else 1.0 for name in names]

        def weight(name: str, other: str) -> float:
            if name in (rest, other):
                return 0.0
            if other == rest:
                return beta_voice if name == voice else beta
            return alpha

        away = [[weight(name, other) for other in names] for name in names]
        self.register_buffer("own", torch.tensor(own), persistent=False)
        self.register_buffer("away", torch.tensor(away), persistent=False)

    def forward(self, estimate: Separation, truth: Separation, mixture: Tensor) -> Tensor:
        """(batch, targets)."""
        if estimate.spectra is None or truth.spectra is None:
            raise UserError(
                "the loss dissimilarity reads spectra and this model estimates none: "
                "choose a spectrogram model, or loss=l1"
            )
        guess, true = estimate.spectra.abs(), truth.spectra.abs()
        loss = self.own * (guess - true).square().flatten(2).mean(-1)
        for step in range(1, true.shape[1]):
            others = true.roll(-step, dims=1)  # others[:, i] is target i + step
            weights = self.away.roll(-step, dims=1).diagonal()
            loss = loss - weights * (guess - others).square().flatten(2).mean(-1)
        return loss.abs()
