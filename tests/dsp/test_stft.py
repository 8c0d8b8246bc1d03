"""The STFT pair: torch's values, perfect reconstruction, precision."""

from __future__ import annotations

import pytest
import torch

from sepexp.dsp.stft import STFT, istft, make_window, stft


@pytest.mark.parametrize("samples", [4096, 4099, 1000])
def test_equals_torch(samples: int) -> None:
    torch.manual_seed(0)
    waveform, window = torch.randn(2, 3, samples), torch.hann_window(512)
    ours = stft(waveform, window, 128)
    theirs = torch.stft(
        waveform.flatten(0, 1), 512, 128, window=window, center=True, return_complex=True
    ).unflatten(0, (2, 3))
    assert torch.allclose(ours, theirs, atol=1e-5)
    back = torch.istft(theirs.flatten(0, 1), 512, 128, window=window, length=samples)
    assert torch.allclose(istft(ours, window, 128, samples).flatten(0, 1), back, atol=1e-5)


@pytest.mark.parametrize("window", ["hann", "sine", "sqrt_hann"])
@pytest.mark.parametrize("samples", [1, 100, 255, 1024, 5001])
def test_round_trip(window: str, samples: int) -> None:
    torch.manual_seed(0)
    pair = STFT(n_fft=256, hop=64, window=window)
    waveform = torch.randn(2, 2, samples, dtype=torch.float64)
    spectrum = pair.analyse(waveform)
    assert spectrum.shape[-2] == pair.freq == 129
    back = pair.synthesise(spectrum, samples)
    assert back.shape == waveform.shape
    # the window is float32, and the same on both sides
    assert torch.allclose(back, waveform, atol=1e-6)


def test_frame_is_centred_on_its_sample() -> None:
    waveform = torch.zeros(2048)
    waveform[5 * 128] = 1
    energy = stft(waveform, torch.hann_window(512), 128).abs().sum(0)
    assert energy.argmax() == 5


def test_half_precision_is_raised() -> None:
    pair = STFT(n_fft=256, hop=64)
    waveform = torch.randn(2, 1000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        spectrum = pair.analyse(waveform.bfloat16())
        back = pair.synthesise(spectrum, 1000)
    assert spectrum.dtype == torch.complex64
    assert back.dtype == torch.float32
    assert torch.allclose(back, waveform, atol=2e-2)  # what bfloat16 kept of the input


def test_window_is_not_stored_and_names_are_known() -> None:
    assert not STFT(n_fft=256, hop=64).state_dict()
    with pytest.raises(ValueError, match="sqrt_hann"):
        make_window("kaiser", 256)


def test_gradient_reaches_the_waveform() -> None:
    waveform = torch.randn(1, 700, requires_grad=True)
    pair = STFT(n_fft=256, hop=64)
    pair.synthesise(pair.analyse(waveform), 700).square().sum().backward()
    assert waveform.grad is not None
    assert torch.allclose(waveform.grad, 2 * waveform.detach(), atol=1e-3)


@pytest.mark.parametrize("hop", [256, 128])
def test_a_masked_spectrum_does_not_click_at_the_ends(hop: int) -> None:
    """Half of the bins taken away at random: no sample may tower over the signal's own peak."""
    torch.manual_seed(0)
    pair = STFT(n_fft=512, hop=hop)
    for samples in (5000, 5001, 5119, 5247):
        signal = torch.randn(1, samples).clamp(-1, 1)
        spectrum = pair.analyse(signal)
        spectrum = spectrum * (torch.rand(spectrum.shape) > 0.5)
        assert pair.synthesise(spectrum, samples).abs().max() < 3
