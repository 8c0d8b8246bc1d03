"""Loud targets must not rule the loss: weights from each target's volume in the training songs."""

from __future__ import annotations

from torch import Tensor, nn

from sepexp.errors import UserError
from sepexp.separation import Separation


class VolumeBalanced(nn.Module):
    """Another loss, weighted for each target by the inverse of its mean magnitude.

    After the volume balancing of Oh, Kim, Yun, arXiv 1810.11520. The volumes are measured by the
    model before training and come as `volume` in its extras. The weights' mean is one.

    Raises:
        UserError: The model doesn't measure volumes.
    """

    def __init__(self, *, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss
        self.needs_spectra = getattr(loss, "needs_spectra", False)
        self.needs_waveforms = getattr(loss, "needs_waveforms", True)

    def forward(self, estimate: Separation, truth: Separation, mixture: Tensor) -> Tensor:
        """(batch, targets)."""
        volume = (estimate.extras or {}).get("volume")
        if volume is None:
            raise UserError(
                "the loss volume_balanced needs a model that measures its targets' volumes: "
                "choose model=u_net_channels or another u_net, or another loss"
            )
        # a target that is silent in every song gets the weight of one 60 dB below the loudest
        weights = 1 / volume.clamp_min(1e-3 * volume.max()).clamp_min(1e-12)
        weights = weights / weights.mean(1, keepdim=True)
        return self.loss(estimate, truth, mixture) * weights
