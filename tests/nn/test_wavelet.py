"""Wavelet transforms: nothing is lost, and the bands are what their names say."""

from __future__ import annotations

import pytest
import torch

from sepexp.errors import UserError
from sepexp.nn.wavelet import LIFTING, dwt, idwt


@pytest.mark.parametrize("wavelet", LIFTING)
def test_the_inverse_gives_the_signal_back(wavelet: str) -> None:
    signal = torch.randn(2, 3, 64, dtype=torch.float64)
    bands = dwt(signal, wavelet)
    assert bands.shape == (2, 6, 32)
    assert torch.allclose(idwt(bands, wavelet), signal, atol=1e-12)


@pytest.mark.parametrize("wavelet", [name for name in LIFTING if name != "lazy"])
def test_a_constant_is_all_in_the_low_band(wavelet: str) -> None:
    high, low = dwt(torch.ones(1, 1, 64), wavelet).chunk(2, dim=1)
    assert torch.allclose(high, torch.zeros_like(high), atol=1e-6)
    assert torch.allclose(low, torch.full_like(low, 2**0.5), atol=1e-6)


@pytest.mark.parametrize(("wavelet", "degree"), [("cdf22", 1), ("dd4", 3)])
def test_predictors_are_exact_for_polynomials(wavelet: str, degree: int) -> None:
    signal = (torch.arange(64, dtype=torch.float64) / 64) ** degree
    high = dwt(signal[None, None], wavelet)[:, :1]
    assert torch.allclose(high[..., 4:-4], torch.zeros_like(high[..., 4:-4]), atol=1e-12)


@pytest.mark.parametrize(
    ("wavelet", "moments"),
    [("haar", 1), ("cdf15", 5), ("cdf22", 2), ("cdf26", 6), ("dd4", 4)],
)
def test_updates_give_the_wavelet_its_vanishing_moments(wavelet: str, moments: int) -> None:
    bands = torch.zeros(1, 2, 32, dtype=torch.float64)
    bands[0, 0, 16] = 1
    shape = idwt(bands, wavelet)[0, 0]
    time = (torch.arange(64, dtype=torch.float64) - 32) / 8
    found = [(shape * time**power).sum().abs().item() for power in range(moments + 1)]
    assert max(found[:moments]) < 1e-12 < found[moments]


def test_haar_by_hand() -> None:
    bands = dwt(torch.tensor([[[1.0, 3.0, 5.0, 5.0]]]), "haar")
    expected = torch.tensor([[[2.0, 0.0], [4.0, 10.0]]]) / 2**0.5
    assert torch.allclose(bands, expected)


@pytest.mark.parity
@pytest.mark.parametrize(
    ("wavelet", "theirs", "shift"),
    [
        ("haar", "haar", 0),
        ("cdf15", "bior1.5", 2),
        ("cdf22", "bior2.2", 1),
        ("cdf26", "bior2.6", 3),
    ],
)
def test_is_pywavelets(wavelet: str, theirs: str, shift: int) -> None:
    """Away from the ends, where each repeats the signal its own way; the high band's sign turns."""
    pywt = pytest.importorskip("pywt")
    signal = torch.randn(96, dtype=torch.float64)
    high, low = dwt(signal[None, None], wavelet)[0, :, 10:-10]
    approximation, detail = (
        torch.from_numpy(band)[10 + shift :][: len(low)]
        for band in pywt.dwt(signal.numpy(), theirs)
    )
    assert torch.allclose(low, approximation, atol=1e-12)
    assert torch.allclose(high, -detail, atol=1e-12)


def test_strangers_are_refused() -> None:
    with pytest.raises(UserError, match="expected one of"):
        dwt(torch.zeros(1, 1, 4), "morlet")
    with pytest.raises(ValueError, match="even"):
        dwt(torch.zeros(1, 1, 5), "haar")
