"""logWMSE: published example, silence, and the package that defines it where installed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sepexp.errors import UserError
from sepexp.metric.log_wmse import hearing_filter, log_wmse

RATE = 44_100
PERFECT = -4 * np.log(1e-8)


@pytest.fixture
def scene() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    references = torch.randn(2, 2, RATE)
    return references, 0.7 * references + 0.1 * torch.randn(2, 2, RATE), references.sum(dim=0)


def test_published_example() -> None:
    torch.manual_seed(0)
    noise = 2 * torch.rand(1, 1, RATE) - 1
    # a tenth of the mixture left where there should be silence
    value = log_wmse(torch.zeros_like(noise), 0.1 * noise, noise[0], RATE)
    assert float(value) == pytest.approx(18.42, abs=0.01)


def test_perfect_estimates_also_of_silence(scene: tuple) -> None:
    references, _, mixture = scene
    assert log_wmse(references, references, mixture, RATE) == pytest.approx(PERFECT, abs=1e-3)
    silence = torch.zeros_like(references)
    assert log_wmse(silence, silence, mixture, RATE) == pytest.approx(PERFECT, abs=1e-3)
    inaudible = references + 1e-6 * torch.randn_like(references)
    assert log_wmse(references, inaudible, mixture, RATE) == pytest.approx(PERFECT, abs=1e-3)


def test_level_does_not_matter(scene: tuple) -> None:
    loud = log_wmse(*scene, RATE)
    quiet = log_wmse(*(0.01 * signals for signals in scene), RATE)
    assert quiet.tolist() == pytest.approx(loud.tolist(), abs=1e-3)


@pytest.mark.parametrize("sample_rate", [8000, 22_050, 44_100])
def test_weighting(sample_rate: int) -> None:
    response = np.abs(np.fft.rfft(hearing_filter(sample_rate).numpy(), n=1 << 15))

    def gain(hertz: float) -> float:
        return float(20 * np.log10(response[round(hertz / sample_rate * (1 << 15))]))

    assert gain(20) < -25  # two poles at 120 Hz
    assert gain(500) == pytest.approx(2.5, abs=0.3)  # the peak, and a little of the shelf
    assert 2 < gain(1500) < 5.0  # half of the shelf's 5 dB
    if sample_rate == 44_100:
        assert gain(10_000) == pytest.approx(5 - 6, abs=0.2)  # shelf and two poles


@pytest.mark.parity
def test_equals_the_package(scene: tuple) -> None:
    package = pytest.importorskip("torch_log_wmse")
    theirs = package.LogWMSE(sample_rate=RATE, p=0, reduction="mean")
    references, estimates, mixture = scene
    ours = log_wmse(*scene, RATE)
    for target in range(2):
        value = theirs(
            mixture[None], estimates[target][None, :, None], references[target][None, :, None]
        )
        # its later versions count the filter's tails and drop the inaudible samples' rule
        assert float(ours[target]) == pytest.approx(float(value), abs=0.02)


def test_refuses_other_shapes(scene: tuple) -> None:
    with pytest.raises(UserError):
        log_wmse(scene[0], scene[1], scene[2][:1], RATE)
