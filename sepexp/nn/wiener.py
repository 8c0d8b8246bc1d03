"""How a magnitude model turns its estimates into spectra: mixture phase or Wiener filter."""

from __future__ import annotations

from torch import Tensor, nn

from sepexp.dsp.wiener import wiener


class Wiener(nn.Module):
    """The multichannel Wiener filter in evaluation, the mixture's phase in training.

    Expectation maximisation costs more than most networks and is not part of any published
    training, so it is left out there.

    Args:
        targets: Number of magnitude estimates.
        iterations: Of expectation maximisation in evaluation; 0: the mixture's phase there too.
        softmask: Start from ratio masks instead of the magnitudes with the mixture's phase.
        residual: Let the mixture minus all targets take part as one more source, then drop it;
            always so with one target, which would be given the whole mixture otherwise.
        window: Frames that share one spatial model; None: all.

    Shape:
        magnitudes (batch, targets, channels, freq, frames), mixture (batch, channels, freq, frames)
        -> complex (batch, targets, channels, freq, frames).
    """

    def __init__(
        self, *, targets: int, iterations: int, softmask: bool, residual: bool, window: int | None
    ) -> None:
        super().__init__()
        self.iterations, self.softmask = iterations, softmask
        self.residual, self.window = residual or targets == 1, window

    def forward(self, magnitudes: Tensor, mixture: Tensor) -> Tensor:
        iterations = 0 if self.training else self.iterations
        spectra = wiener(
            magnitudes,
            mixture,
            iterations=iterations,
            softmask=self.softmask and not self.training,
            residual=self.residual and iterations > 0,
            window=self.window,
        )
        return spectra[:, : magnitudes.shape[1]]
