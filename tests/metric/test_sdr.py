"""SDR without filters: museval's values and NaN, and hand-worked ratios, in NumPy and torch."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch

from sepexp.errors import UserError
from sepexp.metric import sdr
from sepexp.metric.museval_backend import load_museval

EXACT = 1e-10  # dB: both sides are float64 sums of the same squares


def both(function: Callable, *signals: np.ndarray, **settings: object) -> np.ndarray:
    """The NumPy result, after checking that torch gives the same."""
    ours = function(*signals, **settings)
    tensors = function(*(torch.from_numpy(np.ascontiguousarray(s)) for s in signals), **settings)
    assert isinstance(ours, np.ndarray) and isinstance(tensors, torch.Tensor)
    np.testing.assert_allclose(tensors.numpy(), ours, atol=EXACT, rtol=0)
    return ours


@pytest.mark.parametrize("case", ["plain", "pause", "phase", "tail", "silent", "nan", "overlap"])
def test_framewise_equals_museval(case: str, stems: Callable, largest_difference: Callable) -> None:
    references, estimates = stems(channels=2, samples=6100)
    if case == "pause":
        estimates[1, 2000:4000] = 0
    elif case == "phase":
        references[0, 2000:4000, 0] = -references[0, 2000:4000, 1]
    elif case == "silent":
        references[0] = 0
    elif case == "nan":
        estimates[0, 6050] = math.nan  # in the rest after the last frame
    samples = 6000 if case == "tail" else 6100
    pair = references[:, :samples], estimates[:, :samples]
    hop = 750.5 if case == "overlap" else 2000
    kept = [1] if case == "silent" else [0, 1]
    # the filters' length does not matter to SDR: short ones are quick
    theirs = load_museval().metrics.bss_eval(
        pair[0][kept], pair[1][kept], window=2000, hop=hop, filters_len=4
    )[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = both(
            sdr.framewise_sdr, *(part.transpose(0, 2, 1) for part in pair), window=2000, hop=hop
        )
    assert largest_difference(ours[kept], theirs) < EXACT
    assert case != "silent" or np.isnan(ours[0]).all()
    assert np.isnan(ours).any() == (case in ("pause", "phase", "silent", "nan"))


def test_silent_target_warns(stems: Callable) -> None:
    references, estimates = (part.transpose(0, 2, 1) for part in stems())
    references[1] = 0
    with pytest.warns(UserWarning, match=r"\[1\]"):
        sdr.framewise_sdr(references, estimates, 2000, 2000)


def test_integers_and_identical_estimates() -> None:
    signals = np.arange(1, 2001, dtype=np.int16).reshape(1, 1, -1)
    assert np.isposinf(both(sdr.framewise_sdr, signals, signals, window=500, hop=500)).all()


def test_csdr_is_the_median_of_scored_frames() -> None:
    references = np.ones((1, 1, 50))
    estimates = references.copy()
    for frame, error in enumerate([0.1, 0.2, 0.4, 0.0]):
        estimates[..., frame * 10 : frame * 10 + 10] += error
    references[..., 40:] = 0
    value = both(sdr.csdr, references, estimates, window=10, hop=10)
    # 20, 13.98 and 7.96 dB; the infinite and the silent frame do not count
    assert value == pytest.approx(-20 * math.log10(0.2), abs=EXACT)


def test_usdr_by_hand() -> None:
    references, estimates = np.full((2, 2, 50), 2.0), np.full((2, 2, 50), 1.0)
    estimates[1] = 2.0
    values = both(sdr.usdr, references, estimates)
    expected = [10 * math.log10((400 + 1e-7) / (100 + 1e-7)), 10 * math.log10((400 + 1e-7) / 1e-7)]
    assert values == pytest.approx(expected, abs=EXACT)
    assert both(sdr.usdr, references * 0, references * 0) == pytest.approx([0, 0])


def test_snr_by_hand() -> None:
    assert both(sdr.snr, np.full((1, 2, 9), 10.0), np.full((1, 2, 9), 9.0)) == pytest.approx([20])


def test_long_signals_are_summed_by_blocks(
    monkeypatch: pytest.MonkeyPatch, stems: Callable
) -> None:
    references, estimates = (part.transpose(0, 2, 1) for part in stems())
    whole = sdr.usdr(references, estimates)
    monkeypatch.setattr(sdr, "BLOCK", 1000)
    np.testing.assert_allclose(both(sdr.usdr, references, estimates), whole, atol=EXACT)


def test_si_sdr_ignores_the_gain(stems: Callable) -> None:
    references, estimates = (part.transpose(0, 2, 1) for part in stems(channels=2))
    values = both(sdr.si_sdr, references, estimates)
    np.testing.assert_allclose(both(sdr.si_sdr, references, -3 * estimates), values, atol=1e-9)
    assert (values > both(sdr.snr, references, 0.5 * estimates)).all()
    shifted = both(sdr.si_sdr, references + 1, estimates - 2, zero_mean=True)
    centred = both(sdr.si_sdr, references, estimates, zero_mean=True)
    np.testing.assert_allclose(shifted, centred, atol=1e-9)


def test_si_sdr_of_silence_is_nan(stems: Callable) -> None:
    references, estimates = (part.transpose(0, 2, 1) for part in stems())
    assert np.isnan(both(sdr.si_sdr, references * 0, estimates)).all()
    assert np.isnan(both(sdr.si_sdr, references, estimates * 0)).all()


def test_si_sir_and_si_sar_by_hand() -> None:
    time = np.arange(1000)
    waves = np.stack([np.sin(2 * np.pi * k * time / 1000) for k in (3, 5, 7)])[:, None]
    references = waves[:2]
    estimates = np.stack(
        [waves[0] + 0.1 * waves[1] + 0.01 * waves[2], waves.sum(axis=0) * 0.2 + 0.8 * waves[1]]
    )
    assert both(sdr.si_sir, references, estimates)[0] == pytest.approx(20, abs=1e-6)
    assert both(sdr.si_sar, references, estimates)[0] == pytest.approx(40, abs=1e-6)
    assert both(sdr.si_sar, references, estimates)[1] == pytest.approx(-20 * math.log10(0.2))


def test_si_parts_sum_to_the_residual(stems: Callable) -> None:
    references, estimates = (part.transpose(0, 2, 1) for part in stems(sources=3, channels=2))
    whole, inside, outside = (
        10 ** (-both(score, references, estimates) / 10)
        for score in (sdr.si_sdr, sdr.si_sir, sdr.si_sar)
    )
    np.testing.assert_allclose(inside + outside, whole, rtol=1e-9)


def test_nsdr_and_gnsdr() -> None:
    references = np.stack([np.full((1, 10), 1.0), np.full((1, 10), 0.5)])
    mixture = references.sum(axis=0)
    values = both(sdr.nsdr, references, mixture[None].repeat(2, axis=0), mixture)
    assert values == pytest.approx([0, 0])
    assert both(sdr.nsdr, references, 0.9 * references, mixture)[1] == pytest.approx(
        20 - 20 * math.log10(0.5)
    )
    table = np.array([[1.0, 2.0], [4.0, math.nan]])
    assert both(sdr.gnsdr, table, np.array([1, 3])) == pytest.approx([3.25, 2.0])


def test_refuses_other_shapes() -> None:
    with pytest.raises(UserError, match="same"):
        sdr.usdr(np.zeros((1, 1, 5)), np.zeros((1, 1, 6)))
    with pytest.raises(UserError, match="one track"):
        sdr.framewise_sdr(np.zeros((1, 1, 1, 5)), np.zeros((1, 1, 1, 5)), 2, 2)
