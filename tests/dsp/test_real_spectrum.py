"""The real spectrum: its definition, its inverse, its precision."""

from __future__ import annotations

import pytest
import torch

from sepexp.dsp.real_spectrum import RealSpectrum


@pytest.mark.parametrize("window", ["hann", "sine"])
@pytest.mark.parametrize("samples", [1, 100, 1024, 5001])
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_round_trip(window: str, samples: int, precision: torch.dtype) -> None:
    torch.manual_seed(0)
    transform = RealSpectrum(n_fft=256, hop=64, window=window)
    waveform = torch.rand(2, 2, samples, dtype=precision) * 2 - 1  # full scale
    spectrum = transform.analyse(waveform)
    assert not spectrum.is_complex()
    assert spectrum.shape[:3] == (2, 2, transform.freq) and transform.freq == 257
    back = transform.synthesise(spectrum, samples)
    assert back.shape == waveform.shape
    assert torch.allclose(back, waveform, atol=1e-6)


def test_is_the_cosine_sum_of_its_definition() -> None:
    transform = RealSpectrum(n_fft=8, hop=4)
    waveform = torch.randn(32, dtype=torch.float64)
    frame = waveform[4:12] * transform.window  # the centred frame number 2
    k, n = torch.arange(9.0)[:, None], torch.arange(8.0)[None]
    expected = (frame * torch.cos(torch.pi * k * n / 8)).sum(-1)
    assert torch.allclose(transform.analyse(waveform)[:, 2], expected, atol=1e-6)


def test_phase_is_in_the_signs() -> None:
    transform = RealSpectrum(n_fft=64, hop=16)
    waveform = torch.randn(500)
    assert torch.allclose(transform.analyse(-waveform), -transform.analyse(waveform))
    assert (transform.analyse(waveform) < 0).float().mean() > 0.3


def test_half_precision_is_raised() -> None:
    transform = RealSpectrum(n_fft=64, hop=16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        spectrum = transform.analyse(torch.randn(2, 500).bfloat16())
        assert transform.synthesise(spectrum, 500).dtype == spectrum.dtype == torch.float32


def test_a_masked_spectrum_does_not_click_at_the_end() -> None:
    torch.manual_seed(0)
    transform = RealSpectrum(n_fft=256, hop=128)
    waveform = torch.randn(20, 128 * 10 - 3)
    spectrum = transform.analyse(waveform)
    changed = transform.synthesise(spectrum * torch.rand_like(spectrum), waveform.shape[-1])
    assert changed[:, -16:].abs().max() < 2 * changed[:, 16:-16].abs().max()
