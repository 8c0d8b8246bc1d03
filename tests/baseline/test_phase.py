from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sepexp.baseline.masks import ZeroPaddedSTFT
from sepexp.baseline.phase import TrueMagnitude
from sepexp.errors import UserError


def _inconsistency(stft: ZeroPaddedSTFT, estimate: Tensor, truth: Tensor) -> float:
    return (stft.analyse(estimate).abs() - stft.analyse(truth).abs()).square().sum().item()


def test_griffin_lim_never_gets_further_from_the_magnitude(song: Tensor) -> None:
    truth = song[..., :20000]
    stft = ZeroPaddedSTFT(n_fft=1024, hop=256)
    errors = [
        _inconsistency(
            stft,
            TrueMagnitude(phase="griffin_lim", iterations=count, n_fft=1024, hop=256)(
                truth.sum(1), truth
            ).waveforms,
            truth,
        )
        for count in (0, 1, 4, 16)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.5 * errors[0]


def test_no_iteration_is_the_mixture_phase(song: Tensor) -> None:
    truth = song[..., :20000]
    zero = TrueMagnitude(phase="griffin_lim", iterations=0)(truth.sum(1), truth).waveforms
    assert torch.equal(zero, TrueMagnitude(phase="mixture")(truth.sum(1), truth).waveforms)


def test_unknown_phase_is_refused() -> None:
    with pytest.raises(UserError, match="expected one of mixture"):
        TrueMagnitude(phase="oracle")
