"""Doubling the rate and halving it."""

from __future__ import annotations

import pytest
import torch

from sepexp.nn.doubling import Doubling


@torch.no_grad()
def test_doubling_and_back_keeps_a_sine() -> None:
    double = Doubling()
    time = torch.arange(4000) / 44_100
    sine = torch.sin(2 * torch.pi * 1000 * time)[None, None]
    up = double(sine)
    expected = torch.sin(2 * torch.pi * 1000 * torch.arange(8000) / 88_200)
    middle = slice(200, -200)  # the repeated ends are no sine
    assert torch.allclose(up[0, 0, middle], expected[middle], atol=1e-3)
    assert torch.allclose(double.undo(up)[0, 0, middle], sine[0, 0, middle], atol=1e-3)


@torch.no_grad()
def test_halving_removes_what_the_lower_rate_cannot_hold() -> None:
    time = torch.arange(4000) / 44_100
    high = torch.sin(2 * torch.pi * 15_000 * time)[None, None]
    halved = Doubling().undo(high)[..., 100:-100]
    assert halved.abs().max() < 1e-3


@pytest.mark.parity
@torch.no_grad()
def test_is_julius_resampling() -> None:
    julius = pytest.importorskip("julius")
    waves = torch.randn(2, 3, 1000)
    double = Doubling()
    assert torch.allclose(double(waves), julius.resample_frac(waves, 1, 2), atol=1e-5)
    assert torch.allclose(double.undo(waves), julius.resample_frac(waves, 2, 1), atol=1e-5)
