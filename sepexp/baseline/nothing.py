"""Rows that separate nothing: the floor under every model's score."""

from __future__ import annotations

from torch import Tensor

from sepexp.separation import Separation


class Mixture:
    """The mixture itself as the estimate of every target.

    Shape:
        mixture (batch, channels, samples), truth (batch, targets, channels, samples)
        -> waveforms like the truth.
    """

    def __call__(self, mixture: Tensor, truth: Tensor) -> Separation:
        return Separation(mixture[:, None].expand_as(truth).clone())


class MixtureOverTargets:
    """The mixture divided by the number of targets: the published MIX row of MUSDB18's tables.

    SDR compares without rescaling, so this row and the plain mixture differ by several dB.

    Shape:
        as `Mixture`.
    """

    def __call__(self, mixture: Tensor, truth: Tensor) -> Separation:
        return Separation((mixture[:, None] / truth.shape[1]).expand_as(truth).clone())


class NearSilence:
    """The mixture turned down until nothing is heard: the row of whoever gives no answer.

    Its SDR is about 0 dB wherever the target sounds. Exact silence can't be a row, because
    BSSEval drops every frame in which an estimate is silent, and nothing would be left to score.

    Args:
        scale: Factor on the mixture; 0.001 is -60 dB.

    Shape:
        as `Mixture`.
    """

    def __init__(self, *, scale: float = 1e-3) -> None:
        self.scale = scale

    def __call__(self, mixture: Tensor, truth: Tensor) -> Separation:
        return Separation((self.scale * mixture[:, None]).expand_as(truth).clone())
