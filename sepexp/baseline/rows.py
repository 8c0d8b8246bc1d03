"""The rows that stand beside every model's, by the names that tables give them."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from sepexp.baseline.masks import IBM, IRM, ComplexRatioMask
from sepexp.baseline.nothing import Mixture, MixtureOverTargets, NearSilence
from sepexp.baseline.phase import TrueMagnitude
from sepexp.baseline.wiener import MultichannelWiener
from sepexp.separation import Separation

Baseline = Callable[[Tensor, Tensor], Separation]


def floors() -> dict[str, Baseline]:
    """Rows that separate nothing: cheap enough to stand in every table."""
    return {
        "mixture": Mixture(),
        "mixture/N": MixtureOverTargets(),
        "near-silence": NearSilence(),
    }


def oracles() -> dict[str, Baseline]:
    """Rows that know the truth, from the lowest in theory to the highest."""
    return {
        "IBM": IBM(),
        "IRM1": IRM(alpha=1.0),
        "IRM2": IRM(alpha=2.0),
        "MWF": MultichannelWiener(),
        "cIRM": ComplexRatioMask(),
    }


def phases() -> dict[str, Baseline]:
    """The true magnitude with the mixture's phase, Griffin-Lim's and the true one."""
    return {
        "true magnitude, mixture phase": TrueMagnitude(phase="mixture"),
        "true magnitude, Griffin-Lim phase": TrueMagnitude(phase="griffin_lim"),
        "true magnitude, true phase": TrueMagnitude(phase="true"),
    }
