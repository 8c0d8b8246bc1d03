"""BSSEval v4 against museval: the same values and the same NaN, on random and nasty signals."""

from __future__ import annotations

import math
import os
import tracemalloc
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import firwin, lfilter

from sepexp.errors import UserError
from sepexp.metric import bsseval, bsseval_correlations, bsseval_frames, museval_backend
from sepexp.metric.bsseval import bss_eval

RATE = 4000
EXACT = 1e-6  # dB; the largest seen is 2e-8, on band-limited signals


def in_one_frame(signals: np.ndarray, value: float = 0.0) -> np.ndarray:
    changed = signals.copy()
    changed[1, RATE : 2 * RATE] = value
    return changed


def sample(signals: np.ndarray, index: int, value: float) -> np.ndarray:
    changed = signals.copy()
    changed[0, index] = value
    return changed


def channel(signals: np.ndarray, factor: float) -> np.ndarray:
    """Second channel of the first source as a multiple of its first."""
    changed = signals.copy()
    changed[0, :, 1] = factor * changed[0, :, 0]
    return changed


def low(signals: np.ndarray) -> np.ndarray:
    return lfilter(firwin(255, 0.73), 1, signals, axis=1)


MONO = {
    "plain": lambda r, e: (r, e),
    "pause in a reference": lambda r, e: (in_one_frame(r), e),
    "pause in an estimate": lambda r, e: (r, in_one_frame(e)),
    "one quiet sample in a pause": lambda r, e: (sample(in_one_frame(r[::-1])[::-1], 5, 1e-9), e),
    "silent reference": lambda r, e: (r * [[[1]], [[0]]], e),
    "silent estimate": lambda r, e: (r, e * [[[0]], [[1]]]),
    "everything silent": lambda r, e: (r * 0, e * 0),
    "two frames and a sample": lambda r, e: (r[:, : 2 * RATE + 1], e[:, : 2 * RATE + 1]),
    "less than two frames": lambda r, e: (r[:, : 2 * RATE - 1], e[:, : 2 * RATE - 1]),
    "shorter than a frame": lambda r, e: (r[:, :700], e[:, :700]),
    "identical estimates": lambda r, e: (r, r),
    "error of -120 dB": lambda r, e: (r, r + 1e-6 * r[::-1]),
    "a tenth": lambda r, e: (r, 0.1 * r + 0.001 * e),
    "offset": lambda r, e: (r + 1, e + 1),
    "very quiet": lambda r, e: (1e-5 * r, 1e-5 * e),
    "same reference twice": lambda r, e: (np.stack([r[1], r[1]]), e),
    "NaN in an estimate": lambda r, e: (r, sample(e, 100, math.nan)),
    "infinity after the last frame": lambda r, e: (r, sample(e, 2 * RATE + 50, math.inf)),
    "NaN in a reference": lambda r, e: (sample(r, 100, math.nan), e),
    "16 bits": lambda r, e: ((3e4 * r).astype(np.int16), (3e4 * e).astype(np.int16)),
    "float32": lambda r, e: (r.astype(np.float32), e.astype(np.float32)),
    "band-limited 16 bits": lambda r, e: (np.round(low(r) * 32768) / 32768, low(e)),
    "two axes": lambda r, e: (r[..., 0], e[..., 0]),
    "one source": lambda r, e: (r[:1], e[:1]),
}
STEREO = {
    "plain": lambda r, e: (r, e),
    "phases cancel": lambda r, e: (channel(r, -1.0), e),
    "silent channel": lambda r, e: (channel(r, 0.0), e),
    "equal channels": lambda r, e: (channel(r, 1.0), e),
}


@pytest.fixture
def short_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 taps on both sides: what the nasty signals probe does not depend on the length."""
    metrics = museval_backend.load_museval().metrics
    monkeypatch.setattr(metrics, "bss_eval", partial(metrics.bss_eval, filters_len=64))
    monkeypatch.setattr(bsseval, "TAPS", 64)


def compare(
    references: np.ndarray, estimates: np.ndarray, window: float, hop: float, measure: Callable
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = museval_backend.bss_eval(references, estimates, window, hop)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="sources")
        warnings.filterwarnings("error", message=".*singular")
        ours = bss_eval(references, estimates, window, hop)
    assert measure(ours, theirs) < EXACT


@pytest.mark.parametrize("channels", [1, 2])
def test_equals_museval_with_its_512_taps(
    channels: int, stems: Callable, largest_difference: Callable
) -> None:
    references, estimates = stems(channels=channels, samples=2 * RATE + 100)
    compare(references, estimates, RATE, RATE, largest_difference)


@pytest.mark.usefixtures("short_filters")
@pytest.mark.parametrize("case", MONO)
def test_equals_museval_mono(case: str, stems: Callable, largest_difference: Callable) -> None:
    references, estimates = MONO[case](*stems(samples=2 * RATE + 100))
    compare(references, estimates, RATE, RATE, largest_difference)


@pytest.mark.usefixtures("short_filters")
@pytest.mark.parametrize("case", STEREO)
def test_equals_museval_stereo(case: str, stems: Callable, largest_difference: Callable) -> None:
    references, estimates = STEREO[case](*stems(channels=2, samples=2 * RATE + 100))
    compare(references, estimates, RATE, RATE, largest_difference)


@pytest.mark.usefixtures("short_filters")
def test_phases_that_cancel_in_one_frame(stems: Callable, largest_difference: Callable) -> None:
    references, estimates = stems(sources=1, channels=2, samples=3 * RATE)
    references[0, RATE : 2 * RATE, 1] = -references[0, RATE : 2 * RATE, 0]
    compare(references, estimates, RATE, RATE, largest_difference)
    assert np.isnan(bss_eval(references, estimates, RATE, RATE).sdr).tolist() == [
        [False, True, False]
    ]


@pytest.mark.usefixtures("short_filters")
@pytest.mark.parametrize(
    ("window", "hop"),
    [
        (math.inf, math.inf),
        (RATE, RATE / 2),
        (2800.3, 1320.7),
        (1000, 3000),
        (300, 300),
        (300.5, 90),
    ],
)
def test_equals_museval_for_any_frames(
    window: float, hop: float, stems: Callable, largest_difference: Callable
) -> None:
    compare(*stems(samples=2 * RATE + 100), window, hop, largest_difference)


@pytest.mark.usefixtures("short_filters")
def test_three_sources(stems: Callable, largest_difference: Callable) -> None:
    compare(*stems(sources=3, channels=2, samples=RATE), RATE, RATE, largest_difference)


@pytest.mark.usefixtures("short_filters")
def test_filters_of_each_frame_are_museval_v3(
    stems: Callable, largest_difference: Callable
) -> None:
    references, estimates = stems(samples=2 * RATE + 100)
    references[0, :RATE] = 0
    theirs = museval_backend.load_museval().metrics.bss_eval(
        references, estimates, window=RATE, hop=RATE, framewise_filters=True
    )[:4]
    ours = bss_eval(references, estimates, RATE, RATE, framewise_filters=True)
    assert largest_difference(ours, theirs) < EXACT


def test_silent_source_warns(stems: Callable) -> None:
    references, estimates = stems(samples=RATE)
    references[1] = 0
    with pytest.warns(UserWarning, match=r"\[1\]"):
        bss_eval(references, estimates, RATE, RATE)


@pytest.mark.usefixtures("short_filters")
def test_singular_references_warn_and_keep_their_sdr(stems: Callable) -> None:
    references, estimates = stems(samples=2 * RATE)
    references = lfilter(firwin(511, 0.5), 1, references, axis=1).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = bss_eval(references, estimates, RATE, RATE)
    # the same reference once more, at a level that leaves only rounding between the two
    references[1] = references[0] + np.float32(1e-7) * references[1]
    with pytest.warns(UserWarning, match="singular"):
        scores = bss_eval(references, estimates, RATE, RATE)
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(scores.sdr[0], plain.sdr[0], atol=1e-10)


@pytest.mark.usefixtures("short_filters")
def test_band_limited_float32_agrees_where_museval_agrees_with_itself(stems: Callable) -> None:
    steep = firwin(1023, 0.73, window=("kaiser", 14))  # -140 dB: only rounding is left above
    references, estimates = (
        lfilter(steep, 1, part, axis=1).astype(np.float32) for part in stems(samples=2 * RATE + 100)
    )
    theirs = np.array(museval_backend.bss_eval(references, estimates, RATE, RATE))
    turned = museval_backend.bss_eval(references[::-1], estimates[::-1], RATE, RATE)
    stable = np.abs(theirs - np.array(turned)[:, ::-1]) < 1e-5
    with pytest.warns(UserWarning, match="singular"):
        ours = np.array(bss_eval(references, estimates, RATE, RATE))
    assert stable[:2].all() and not stable.all()
    assert np.abs(ours - theirs)[stable].max() < 1e-3
    np.testing.assert_allclose(ours[0], theirs[0], atol=1e-10)


def test_threads_change_nothing(stems: Callable) -> None:
    references, estimates = stems(samples=120_000)
    one, two = (bss_eval(references, estimates, RATE, RATE, threads=t) for t in (1, 2))
    np.testing.assert_allclose(np.array(one), np.array(two), atol=1e-9)
    np.testing.assert_array_equal(
        np.array(two), np.array(bss_eval(references, estimates, RATE, RATE))
    )


def test_memory_does_not_grow_with_the_track(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bsseval_correlations, "GROUP", 4)
    monkeypatch.setattr(bsseval_frames, "TOGETHER", 20_000)
    rng = np.random.default_rng(0)
    peaks = []
    for samples in (60_000, 240_000):
        references = rng.integers(-9000, 9000, (2, samples, 1), dtype=np.int16)
        estimates = references // 2
        tracemalloc.start()
        bss_eval(references, estimates, RATE, RATE, threads=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # a float64 copy of the additional samples alone would be 6 MB
    assert peaks[1] - peaks[0] < 5e5


def test_inputs_stay_as_they_are(stems: Callable) -> None:
    references, estimates = stems(samples=RATE)
    before = references.copy(), estimates.copy()
    bss_eval(references, estimates, RATE, RATE)
    np.testing.assert_array_equal(references, before[0])
    np.testing.assert_array_equal(estimates, before[1])


@pytest.mark.parametrize(
    ("references", "estimates"),
    [
        (np.ones((2, 10, 1)), np.ones((2, 11, 1))),
        (np.ones(10), np.ones(10)),
        (np.ones((1, 10, 1), dtype=complex), np.ones((1, 10, 1), dtype=complex)),
        (np.ones((1, 0, 1)), np.ones((1, 0, 1))),
    ],
)
def test_refuses_other_inputs(references: np.ndarray, estimates: np.ndarray) -> None:
    with pytest.raises(UserError):
        bss_eval(references, estimates, 5, 5)


@pytest.mark.slow
def test_real_songs(largest_difference: Callable) -> None:
    folder = os.environ.get("SEPEXP_CC0_SONGS")
    if folder is None:
        pytest.skip("SEPEXP_CC0_SONGS does not point at songs with their stems")
    import soundfile

    songs = sorted(Path(folder).rglob("mixture.flac"))
    assert songs, f"no mixture.flac under {folder}"
    for mixture in songs[:2]:
        start, stop = 30 * 44_100, 36 * 44_100
        names = sorted(p for p in mixture.parent.glob("*.flac") if p != mixture)
        stems = [soundfile.read(p, start=start, stop=stop, always_2d=True)[0] for p in names]
        references = np.stack([stem for stem in stems if stem.any()])
        total = references.sum(axis=0)
        estimates = 0.8 * references + 0.1 * total
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = museval_backend.bss_eval(references, estimates, 44_100, 44_100)
            ours = bss_eval(references, estimates, 44_100, 44_100)
        # real stems are worse conditioned than synthetic ones
        assert largest_difference(ours, theirs) < 1e-3
