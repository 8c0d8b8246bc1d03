"""BSSEval v3 against museval's own v3 wrappers, and against mir_eval where it is installed."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.signal import firwin, lfilter

from sepexp.errors import UserError
from sepexp.metric.bsseval_v3 import bss_eval_images, bss_eval_sources
from sepexp.metric.museval_backend import load_museval

EXACT = 1e-6  # dB; rounding only, seen below 1e-10
SAMPLES = 5000


@pytest.fixture
def mono(stems: Callable) -> tuple[np.ndarray, np.ndarray]:
    references, estimates = stems(samples=SAMPLES)
    return references[..., 0], estimates[..., 0]


@pytest.fixture
def mir_eval() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("mir_eval").separation


@pytest.mark.parametrize("permute", [False, True])
def test_sources_equal_museval(permute: bool, mono: tuple, largest_difference: Callable) -> None:
    references, estimates = mono
    estimates = estimates[::-1].copy() if permute else estimates
    theirs = load_museval().metrics.bss_eval_sources(references, estimates, permute)
    ours = bss_eval_sources(references, estimates, permute=permute)
    assert largest_difference(ours[:3], theirs[:3]) < EXACT
    assert ours.permutation[:, 0].tolist() == ([1, 0] if permute else [0, 1])


def test_images_equal_museval(stems: Callable, largest_difference: Callable) -> None:
    references, estimates = stems(sources=1, channels=2, samples=SAMPLES)
    theirs = load_museval().metrics.bss_eval_images(references, estimates, False)
    assert largest_difference(bss_eval_images(references, estimates)[:4], theirs[:4]) < EXACT


# mir_eval 0.8.2 on the very signals: SDR, SIR, SAR of sources; SDR, ISR, SIR, SAR of images
RECORDED = {
    "plain": [[12.6227, 13.1231], [14.2567, 14.8372], [17.8192, 18.1297]],
    "offset": [[29.7155, 29.9613], [32.6642, 33.0198], [32.7907, 32.9261]],
    "band-limited": [[13.0627, 13.4411], [14.3266, 14.7904], [19.1975, 19.3169]],
}
RECORDED_IMAGES = [[8.3821, 7.9092], [9.6225, 9.367], [15.8136, 14.616], [22.3835, 21.9898]]


@pytest.mark.parametrize("case", RECORDED)
def test_sources_equal_what_mir_eval_gave(case: str, stems: Callable) -> None:
    references, estimates = (part[..., 0] for part in stems(samples=2500))
    if case == "offset":
        references, estimates = references + 1, estimates + 1
    elif case == "band-limited":
        low = firwin(255, 0.73)
        references, estimates = (
            np.round(32768 * lfilter(low, 1, part)) / 32768 for part in (references, estimates)
        )
    ours = np.array(bss_eval_sources(references, estimates)[:3])[..., 0]
    np.testing.assert_allclose(ours, RECORDED[case], atol=1e-3)


def test_images_equal_what_mir_eval_gave(stems: Callable) -> None:
    ours = np.array(bss_eval_images(*stems(channels=2, samples=2500))[:4])[..., 0]
    np.testing.assert_allclose(ours, RECORDED_IMAGES, atol=1e-3)


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", ["plain", "pause", "offset", "quiet", "near", "one frame"])
def test_sources_equal_mir_eval(
    case: str, mono: tuple, mir_eval: Any, largest_difference: Callable
) -> None:
    references, estimates = mono
    if case == "pause":
        references[1, :2500] = 0
    elif case == "offset":
        references, estimates = references + 1, estimates + 1
    elif case == "quiet":
        references, estimates = 1e-5 * references, 1e-5 * estimates
    elif case == "near":
        estimates = references + 1e-5 * references[::-1]
    frames = (3000, 2500) if case == "one frame" else (2500, 2500)
    theirs = mir_eval.bss_eval_sources_framewise(references, estimates, *frames)
    ours = bss_eval_sources(references, estimates, *frames)
    # 1e-3 dB where the error is -100 dB: the projections cancel down to rounding
    assert largest_difference(ours, theirs) < (1e-3 if case == "near" else EXACT)


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("permute", [False, True])
def test_images_equal_mir_eval(
    permute: bool, stems: Callable, mir_eval: Any, largest_difference: Callable
) -> None:
    references, estimates = stems(channels=1, samples=SAMPLES)
    estimates = estimates[::-1].copy() if permute else estimates
    theirs = mir_eval.bss_eval_images_framewise(references, estimates, 2500, 1250, permute)
    ours = bss_eval_images(references, estimates, 2500, 1250, permute=permute)
    assert largest_difference(ours, theirs) < EXACT


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
def test_three_sources_find_their_order(
    stems: Callable, mir_eval: Any, largest_difference: Callable
) -> None:
    references, estimates = stems(sources=3, samples=2000)
    pair = references[..., 0], estimates[[2, 0, 1], :, 0]
    theirs = np.array(mir_eval.bss_eval_sources(*pair, True))[..., None]
    ours = bss_eval_sources(*pair, permute=True)
    assert largest_difference(ours, theirs) < EXACT
    assert ours.permutation[:, 0].tolist() == [1, 2, 0]


def test_silent_source_is_nan(mono: tuple, largest_difference: Callable) -> None:
    references, estimates = mono
    alone = bss_eval_sources(references[:1], estimates[:1])
    references[1] = 0
    with pytest.warns(UserWarning, match=r"\[1\]"):
        scores = bss_eval_sources(references, estimates, permute=True)
    assert np.isnan(np.array(scores)[:, 1]).all()
    assert largest_difference(np.array(scores)[:, :1], alone) < EXACT


def test_sources_are_mono(stems: Callable) -> None:
    with pytest.raises(UserError, match="mono"):
        bss_eval_sources(*stems())
    with pytest.raises(UserError, match="same"):
        bss_eval_images(np.ones((1, 10, 1)), np.ones((1, 9, 1)))
