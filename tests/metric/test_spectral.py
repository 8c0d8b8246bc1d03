"""Toolkit scores: their published formulas, and the packages that define them where installed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchaudio.functional import melscale_fbanks
from torchaudio.transforms import AmplitudeToDB

from sepexp.errors import UserError
from sepexp.metric import spectral

RATE = 44_100


def slaney(sr: int, n_fft: int, n_mels: int) -> np.ndarray:
    return melscale_fbanks(n_fft // 2 + 1, 0, sr / 2, n_mels, sr, "slaney", "slaney").T.numpy()


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    references = 0.1 * torch.randn(2, 2, 12_000).cumsum(dim=-1) / 10
    return references, references + 0.01 * torch.randn(2, 2, 12_000) + 0.1 * references.flip(0)


@pytest.mark.parametrize(
    ("sample_rate", "n_fft", "bands"), [(44_100, 4096, 512), (16_000, 1024, 40)]
)
@pytest.mark.filterwarnings("ignore:At least one mel filterbank")
def test_mel_filters_are_slaney_s(sample_rate: int, n_fft: int, bands: int) -> None:
    ours = spectral.mel_filters(sample_rate, n_fft, bands).numpy()
    # torchaudio computes its edges in float32
    np.testing.assert_allclose(ours, slaney(sample_rate, n_fft, bands), atol=5e-6)


@pytest.mark.filterwarnings("ignore:At least one mel filterbank")
def test_bleedless_and_fullness_by_their_definition(pair: tuple) -> None:
    levels = []
    for signals in pair:
        window = torch.hann_window(4096)
        spectra = torch.stft(
            signals[0], 4096, 1024, window=window, pad_mode="constant", return_complex=True
        )
        bank = torch.from_numpy(slaney(RATE, 4096, 512))
        levels.append(AmplitudeToDB("magnitude", top_db=80)(bank @ spectra.abs()))
    change = levels[1] - levels[0]
    bleed, full = (score(*pair, RATE) for score in (spectral.bleedless, spectral.fullness))
    # float32 decibels, and mel edges rounded differently
    assert float(bleed[0]) == pytest.approx(float(100 / (1 + change[change > 0].mean())), rel=1e-3)
    assert float(full[0]) == pytest.approx(float(100 / (1 - change[change < 0].mean())), rel=1e-3)


def test_leaks_cost_bleedless_and_gaps_cost_fullness(pair: tuple) -> None:
    references, _ = pair
    louder, quieter = 2 * references, 0.5 * references
    level = 20 * np.log10(2)
    assert spectral.bleedless(references, louder, RATE) == pytest.approx(
        100 / (1 + level), rel=0.02
    )
    assert spectral.fullness(references, louder, RATE) == pytest.approx(100)
    assert spectral.bleedless(references, quieter, RATE) == pytest.approx(100)
    assert (spectral.fullness(references, quieter, RATE) < 100 / (1 + 0.9 * level)).all()


def test_l1_freq_by_hand() -> None:
    references = torch.zeros(1, 1, 4096)
    references[0, 0, 2048] = 1.0
    # a pulse has magnitude one in every bin of the frames that hold it: 2 or 3 of 5
    value = spectral.l1_freq(references, 0 * references)
    held = sum(abs(2048 - 1024 * frame) <= 1024 for frame in range(5)) - 1
    assert float(value) == pytest.approx(100 / (1 + 10 * held / 5), rel=1e-4)


@pytest.mark.parametrize("score", [spectral.l1_freq, spectral.aura_stft])
def test_perfect_is_100(score: Callable, pair: tuple) -> None:
    assert score(pair[0], pair[0]) == pytest.approx(100)
    assert (score(*pair) < 99).all()


def test_log_spectral_distance_of_a_gain(pair: tuple) -> None:
    references, _ = pair
    values = spectral.log_spectral_distance(references.double(), 10 * references.double())
    # 20 dB wherever the power is above the floor
    assert values == pytest.approx(20, rel=0.05)
    assert float(spectral.log_spectral_distance(references, references).max()) == 0


@pytest.fixture
def auraloss(monkeypatch: pytest.MonkeyPatch) -> Any:
    package = pytest.importorskip("auraloss.freq")
    # auraloss takes its mel bands from librosa, which has Slaney's too
    librosa, filters = ModuleType("librosa"), ModuleType("librosa.filters")
    filters.mel, librosa.filters = slaney, filters  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "librosa", librosa)
    monkeypatch.setitem(sys.modules, "librosa.filters", filters)
    return package


@pytest.mark.parity
def test_equals_auraloss(auraloss: Any, pair: tuple) -> None:
    single = auraloss.STFTLoss(w_log_mag=1.0, w_lin_mag=0.0, w_sc=1.0)
    several = auraloss.MultiResolutionSTFTLoss(
        fft_sizes=[1024, 2048, 4096],
        hop_sizes=[256, 512, 1024],
        win_lengths=[1024, 2048, 4096],
        scale="mel",
        n_bins=128,
        sample_rate=RATE,
        perceptual_weighting=True,
    )
    for ours, loss in (
        (spectral.aura_stft(*pair), single),
        (spectral.aura_mrstft(*pair, RATE), several),
    ):
        theirs = [
            float(100 / (1 + 10 * loss(r[None], e[None]))) for r, e in zip(*pair, strict=True)
        ]
        assert ours.tolist() == pytest.approx(theirs, rel=1e-4)


def test_a_weighting_follows_the_standard() -> None:
    taps = spectral._a_weighting(RATE).numpy()
    freq = 2 * np.pi * np.arange(513) / 1024
    gain = 20 * np.log10(np.abs(np.exp(-1j * np.outer(freq, np.arange(101))) @ taps))
    # IEC 61672: 0 dB at 1 kHz, +1.2 dB at 2 kHz, +1.0 dB at 4 kHz; 101 taps blur the rest
    for hertz, level in ((1000, 0.0), (2000, 1.2), (4000, 1.0)):
        assert gain[round(hertz / RATE * 1024)] == pytest.approx(level, abs=0.3)


def test_refuses_other_shapes() -> None:
    with pytest.raises(UserError):
        spectral.l1_freq(torch.zeros(2, 100), torch.zeros(2, 100))
