"""The small mask network: bands that cover, masks that share the mixture out."""

from __future__ import annotations

import pytest
import torch

from sepexp.model.band_mask import BandMask, band_triangles


def make(channels: int = 2) -> BandMask:
    torch.manual_seed(0)
    return BandMask(
        sample_rate=44100, channels=channels, targets=3, n_fft=512, hop=256, bands=24, width=6,
        dilations=[(1, 1), (2, 1)],
    )  # fmt: skip


@pytest.mark.parametrize("bands", [16, 96])
def test_bands_sum_to_one_in_every_bin(bands: int) -> None:
    triangles = band_triangles(1025, bands, 44100)
    assert torch.allclose(triangles.sum(0), torch.ones(1025), atol=1e-5)
    assert (triangles >= 0).all()


@pytest.mark.parametrize("channels", [1, 2])
def test_estimates_sum_to_the_mixture(channels: int) -> None:
    model = make(channels).eval()
    mixture = torch.randn(2, channels, 5000)
    estimate = model(mixture)
    assert torch.allclose(estimate.waveforms.sum(1), mixture, atol=1e-4)
    assert torch.allclose(
        estimate.spectra.sum(1), model.stft.analyse(mixture).abs(), rtol=1e-4, atol=1e-4
    )


def test_waveforms_are_left_out_only_while_training() -> None:
    model = make()
    mixture = torch.randn(1, 2, 4000)
    full = model.train()(mixture)
    model.waveforms_in_training = False
    lean = model(mixture)
    assert lean.waveforms.shape == (1, 3, 2, 0) and full.waveforms.shape == (1, 3, 2, 4000)
    assert torch.equal(lean.spectra, full.spectra)
    assert model.eval()(mixture).waveforms.shape == (1, 3, 2, 4000)
