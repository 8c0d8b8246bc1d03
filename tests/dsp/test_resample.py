"""The resampler against sines of known phase, its stop band, its bits and its lengths."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from sepexp.dsp import resample
from sepexp.errors import UserError

RATE = 44100
RATIOS = [
    2 ** (-2 / 12),
    2 ** (-1 / 12),
    2 ** (1 / 12),
    2 ** (2 / 12),
    0.88,
    1.12,
    1.0371,
    2.0,
    0.5,
]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def sine(frequency: float, samples: np.ndarray) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * samples / RATE)


def level(audio: np.ndarray) -> float:
    """RMS in dB."""
    return float(20 * np.log10(np.sqrt(np.mean(audio.astype(np.float64) ** 2))))


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("frequency", [50.0, 1000.0, 7000.0])
def test_a_sine_is_read_where_the_ratio_says(ratio: float, frequency: float) -> None:
    frames = 30000
    needed = resample.frames_needed(frames, ratio)
    tone = sine(frequency, np.arange(needed)).astype(np.float32)
    places = resample.margin(ratio) + np.arange(frames) * float(resample.fraction(ratio))
    # 80 dB of stop band: what an 80 dB filter leaves of the images
    assert np.abs(resample.resample(tone, ratio, frames) - sine(frequency, places)).max() < 2e-4


def test_the_rational_ratio_is_within_a_twentieth_of_a_cent() -> None:
    steps = np.geomspace(1e-6, 0.7, 200)
    for ratio in [*RATIOS, *(1 + steps), *(1 - steps)]:
        cents = 1200 * np.log2(float(resample.fraction(float(ratio))) / ratio)
        assert abs(cents) < (0.053 if abs(ratio - 1) > 2.5e-4 else 0.22)  # 1/8192 is 0.21 cents


@pytest.mark.parametrize("ratio", [2 ** (1 / 12), 2 ** (2 / 12), 1.5, 2.0])
def test_what_lies_above_the_new_nyquist_frequency_is_gone(ratio: float) -> None:
    needed = resample.frames_needed(20000, ratio)
    above = sine(min(1.02 * RATE / 2 / ratio, 21500), np.arange(needed)).astype(np.float32)
    assert level(resample.resample(above, ratio, 20000)) < -75
    below = sine(0.78 * RATE / 2 / ratio, np.arange(needed)).astype(np.float32)
    assert level(resample.resample(below, ratio, 20000)) == pytest.approx(level(below), abs=0.1)


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("frames", [0, 1, 31, 197, 5000])
def test_lengths_are_exact_and_no_more_input_is_read(ratio: float, frames: int) -> None:
    needed = resample.frames_needed(frames, ratio)
    audio = noise(2, needed + 50)
    output = resample.resample(audio[:, :needed], ratio, frames)
    assert output.shape == (2, frames) and output.dtype == np.float32 and output.flags.c_contiguous
    assert np.array_equal(output, resample.resample(audio, ratio, frames))
    if frames:
        with pytest.raises(UserError, match=f"need {needed}"):
            resample.resample(audio[:, : needed - 1], ratio, frames)


@pytest.mark.parametrize("ratio", RATIOS)
def test_shorter_outputs_are_the_beginning_of_longer_ones(ratio: float) -> None:
    audio = noise(resample.frames_needed(40000, ratio))
    # float32 sums of 48 to 96 products; products of other shapes may be summed in another order
    np.testing.assert_allclose(
        resample.resample(audio, ratio, 40000)[:1234],
        resample.resample(audio, ratio, 1234),
        atol=5e-6,
    )


def test_a_channel_alone_has_the_bits_it_has_among_others() -> None:
    audio = noise(3, 2, 20000)
    output = resample.resample(audio, 1.1, 17000)
    assert np.array_equal(output[1, 1], resample.resample(audio[1, 1], 1.1, 17000))
    strided = np.ascontiguousarray(audio.swapaxes(1, 2)).swapaxes(1, 2)  # interleaved, as in a wav
    assert np.array_equal(output, resample.resample(strided, 1.1, 17000))


def test_constants_and_silence_and_a_ratio_of_one() -> None:
    assert not resample.resample(np.zeros((2, 9000), np.float32), 1.1, 8000).any()
    constant = resample.resample(np.full(9000, 0.5, np.float32), 1.1, 8000)
    np.testing.assert_allclose(constant, 0.5, atol=1e-6)
    audio = noise(2, 100)
    copy = resample.resample(audio, 1.0, 90)
    assert np.array_equal(copy, audio[:, :90]) and not np.shares_memory(copy, audio)


@pytest.mark.parametrize(
    ("source", "target"), [(44100, 48000), (48000, 44100), (44100, 22050), (8000, 44100)]
)
def test_convert_keeps_time_and_covers_the_whole_signal(source: int, target: int) -> None:
    length = source // 2 + 7
    frequency = 1234.5
    audio = np.sin(2 * np.pi * frequency * np.arange(length) / source).astype(np.float32)
    output = resample.convert(audio[None], source, target)[0]
    assert len(output) == -(-length * target // source)
    want = np.sin(2 * np.pi * frequency * np.arange(len(output)) / target)
    inside = slice(300, -300)  # the signal begins and ends abruptly
    assert np.abs(output - want)[inside].max() < 1e-3
    assert np.array_equal(resample.convert(audio, source, source), audio)


def test_wrong_ratios_and_rates_are_refused() -> None:
    for ratio in (0.0, -1.0, float("nan"), float("inf"), 1000.0):
        with pytest.raises(UserError, match="ratio"):
            resample.frames_needed(10, ratio)
    with pytest.raises(UserError, match="rates"):
        resample.convert(np.zeros(10, np.float32), 44100, 0)
    assert resample.fraction(Fraction(44100, 47999)) == Fraction(44100, 47999)
