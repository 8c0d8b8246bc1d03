"""Any track score as a torchmetrics metric: median and mean over tracks side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from sepexp.errors import UserError
from sepexp.metric.sdr import gnsdr


class OverTracks(Metric):
    """Collects one value for each track and target, and gives median, mean and global mean.

    The global mean weighs tracks by their length: with the score NSDR it is GNSDR.

    `score` is any function of this package that maps references and estimates (and the mixture,
    with `needs_mixture`) of one track to one value for each target; bind its settings with
    `functools.partial`. NaN values, a silent target for instance, count in neither number; a target
    without any value is NaN. Ranks are gathered by torchmetrics.

    Shape:
        update: estimates, references (batch, targets, channels, samples), mixture (batch, channels,
            samples); the first two in torchmetrics' order of prediction and truth.
        compute: {"median": (targets,), "mean": (targets,), "global": (targets,)}.

    Raises:
        UserError: update without the mixture that the score needs.
    """

    full_state_update = False
    values: list[Tensor]
    lengths: list[Tensor]

    def __init__(
        self,
        *,
        score: Callable[..., Tensor],
        needs_mixture: bool = False,
    ) -> None:
        super().__init__()
        self.score = score
        self.needs_mixture = needs_mixture
        self.add_state("values", default=[], dist_reduce_fx="cat")
        self.add_state("lengths", default=[], dist_reduce_fx="cat")

    def update(self, estimates: Tensor, references: Tensor, mixture: Tensor | None = None) -> None:
        """Score every track of a batch."""
        if self.needs_mixture and mixture is None:
            raise UserError(
                "this score needs the mixture: call update(estimates, references, mix)."
            )
        for track, (estimate, reference) in enumerate(zip(estimates, references, strict=True)):
            extra = [mixture[track]] if self.needs_mixture and mixture is not None else []
            value = self.score(reference, estimate, *extra)[None].detach()
            self.values.append(value)
            self.lengths.append(value.new_full((1,), reference.shape[-1]))

    def compute(self) -> dict[str, Tensor]:
        """Median, mean and mean weighted by length over all tracks so far."""
        # after a gathering torchmetrics has put them together already
        states: list[Any] = [self.values, self.lengths]
        table, lengths = (torch.cat(s) if isinstance(s, list) else s for s in states)
        # torch's nanmedian would take the lower of two middle values
        median = torch.nanquantile(table, 0.5, dim=0)
        mean = torch.nanmean(table, dim=0)
        return {"median": median, "mean": mean, "global": gnsdr(table, lengths)}
