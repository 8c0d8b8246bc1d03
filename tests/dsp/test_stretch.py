"""Tempo and pitch: cents, lengths, level, stereo image, attacks, silence, the same bits again."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sepexp.dsp import resample, stretch
from sepexp.errors import UserError

RATE = 44100
FRAMES = 3 * RATE
CHANGES = [
    *((tempo, 0) for tempo in (0.88, 0.95, 1.05, 1.12)),
    *((1, semitones) for semitones in (-2, -1, 1, 2)),
    (0.88, 2),
    (1.12, -2),
]
changes = pytest.mark.parametrize(("tempo", "semitones"), CHANGES)


def change(audio: np.ndarray, tempo: float, semitones: float, frames: int = FRAMES) -> np.ndarray:
    return stretch.change(audio, tempo=tempo, semitones=semitones, frames=frames)


def needed(tempo: float, semitones: float, frames: int = FRAMES) -> int:
    return stretch.frames_needed_for(frames, tempo=tempo, semitones=semitones)


def tone(frequency: float, samples: int) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(samples) / RATE).astype(np.float32)


def level(audio: np.ndarray) -> float:
    """RMS in dB."""
    return float(10 * np.log10(np.mean(audio.astype(np.float64) ** 2)))


def pitch(audio: np.ndarray) -> float:
    """The frequency (Hz) of the highest peak of the spectrum, a parabola through its logarithm."""
    spectrum = np.log(np.abs(np.fft.rfft(audio * np.blackman(len(audio)), 4 * len(audio))) + 1e-20)
    peak = int(spectrum.argmax())
    left, middle, right = spectrum[peak - 1 : peak + 2]
    return (peak + (left - right) / (left - 2 * middle + right) / 2) * RATE / (4 * len(audio))


def bursts(samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise bursts (power halves in 4.3 ms) over a chord, and where they begin (seconds)."""
    generator = np.random.default_rng(1)
    time = np.arange(samples) / RATE
    audio = 0.05 * sum(np.sin(2 * np.pi * hertz * time) for hertz in (110, 220, 277.2, 329.6))
    places = np.cumsum(generator.uniform(0.15, 0.35, 40))
    places = places[places < samples / RATE - 0.15]
    for place in places:
        since = time[int(place * RATE) :] - place
        audio[-len(since) :] += (
            0.5 * generator.standard_normal(len(since)) * np.exp(-since / 0.0124)
        )
    return audio.astype(np.float32), places


def attacks(audio: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Seconds from 2 to 50 % of the energy above 2 kHz around each place, and that energy in dB."""
    spectrum = np.fft.rfft(audio)
    spectrum[: int(2000 / RATE * len(audio))] = 0
    power = np.fft.irfft(spectrum, len(audio)) ** 2
    sums = [np.cumsum(power[int((at - 0.05) * RATE) :][: int(0.12 * RATE)]) for at in places]
    times = [np.diff(np.searchsorted(total / total[-1], (0.02, 0.5)))[0] / RATE for total in sums]
    return np.array(times), np.array([10 * np.log10(total[-1]) for total in sums])


@changes
def test_tones_keep_pitch_level_and_length(tempo: float, semitones: float) -> None:
    for frequency in (55.0, 110.0, 261.6, 440.0, 1000.0, 3300.0, 8000.0):
        output = change(tone(frequency, needed(tempo, semitones)), tempo, semitones)
        assert output.shape == (FRAMES,) and output.dtype == np.float32
        cents = 1200 * np.log2(pitch(output) / (frequency * 2 ** (semitones / 12)))
        assert abs(cents) < 2, frequency
        assert level(output) == pytest.approx(level(tone(frequency, FRAMES)), abs=0.1)


@changes
def test_two_far_tones_stay_pure(tempo: float, semitones: float) -> None:
    """Splices fit the high tone too, although the first search cannot see it."""
    samples = needed(tempo, semitones)
    output = change(tone(147.0, samples) + tone(9000.0, samples), tempo, semitones)
    power = np.abs(np.fft.rfft(output * np.hanning(FRAMES))) ** 2
    hertz = np.fft.rfftfreq(FRAMES, 1 / RATE) / 2 ** (semitones / 12)
    beside = np.minimum(np.abs(hertz - 147), np.abs(hertz - 9000)) > 30
    assert power[beside].sum() < 1e-3 * power.sum()


@changes
def test_attacks_stay_sharp_single_and_whole(tempo: float, semitones: float) -> None:
    audio, places = bursts(needed(tempo, semitones))
    output = change(audio, tempo, semitones)
    places = places[places < (FRAMES / RATE - 0.1) * tempo]
    assert len(places) > 8
    before, power_before = attacks(audio, places)
    after, power_after = attacks(output, places / tempo)
    assert np.mean(after) < 1.3 * np.mean(before)
    gain = power_after - power_before
    # A burst played twice gains 3 dB, a skipped one loses 10; pitch moves noise across 2 kHz alike.
    assert np.abs(gain - np.median(gain)).max() < 1.5


def image(stereo: np.ndarray, delay: float) -> float:
    """Correlation of the right channel with the left one `delay` samples later."""
    samples = stereo.shape[-1]
    turn = np.exp(-2j * np.pi * np.fft.rfftfreq(samples) * delay)
    left = np.fft.irfft(np.fft.rfft(stereo[0]) * turn, samples)
    return float(np.corrcoef(left[100:-100], stereo[1, 100:-100])[0, 1])


@changes
def test_the_stereo_image_stays(tempo: float, semitones: float) -> None:
    mono = 0.1 * np.random.default_rng(2).standard_normal(needed(tempo, semitones) + 10)
    mono += bursts(len(mono))[0]
    output = change(np.stack([mono[10:], mono[:-10]]).astype(np.float32), tempo, semitones)
    assert image(output, 10 / 2 ** (semitones / 12)) > 0.99  # the delay is resampled with the rest
    same = change(np.stack([mono, mono]).astype(np.float32), tempo, semitones)
    assert np.array_equal(same[0], same[1])


@changes
def test_noise_keeps_its_level(tempo: float, semitones: float) -> None:
    white = np.random.default_rng(3).standard_normal(needed(tempo, semitones)).astype(np.float32)
    low = np.convolve(white, np.hanning(12) / 6, "same").astype(
        np.float32
    )  # pitch cuts nothing off
    output = change(low, tempo, semitones)
    assert level(output) == pytest.approx(level(low), abs=0.5)


@changes
def test_silence_stays_exact_silence(tempo: float, semitones: float) -> None:
    samples = needed(tempo, semitones)
    assert not change(np.zeros((2, samples), np.float32), tempo, semitones).any()
    audio = np.random.default_rng(4).standard_normal(samples).astype(np.float32)
    audio[samples // 4 : samples // 2] = 0
    output = change(audio, tempo, semitones)
    quarter = FRAMES // 4
    assert not output[quarter + 3000 : 2 * quarter - 3000].any()


def test_opposite_channels_are_planned_as_well_as_equal_ones() -> None:
    mono = tone(330.0, needed(1.12, 0))
    left, right = change(np.stack([mono, -mono]), 1.12, 0)
    assert np.array_equal(left, -right)
    assert abs(1200 * np.log2(pitch(left) / 330)) < 2


@pytest.mark.parametrize("frames", [0, 1, 500, 1024, 3072, 3073, 3500, 20001])
@pytest.mark.parametrize("tempo", [0.25, 0.7, 0.88, 1.0001, 1.12, 1.3, 4.0])
def test_lengths_are_exact_and_no_more_input_is_read(tempo: float, frames: int) -> None:
    samples = stretch.frames_needed(frames, tempo)
    audio = np.random.default_rng(frames).standard_normal((2, 3, samples + 99)).astype(np.float32)
    output = stretch.stretch(audio[..., :samples], tempo, frames)
    assert output.shape == (2, 3, frames) and output.flags.c_contiguous
    assert np.array_equal(output, stretch.stretch(audio, tempo, frames))
    assert np.array_equal(output[..., :400], audio[..., : min(frames, 400)])
    if frames:
        with pytest.raises(UserError, match=f"need {samples}"):
            stretch.stretch(audio[..., : samples - 1], tempo, frames)


@pytest.mark.parametrize("tempo", [0.5, 0.8, 0.93, 1.07, 1.25, 2.0])
def test_the_output_follows_the_tempo(tempo: float) -> None:
    """A channel that only rises, too faint to be heard, tells where every sample came from."""
    samples = stretch.frames_needed(FRAMES, tempo)
    clicks = np.zeros(samples, np.float32)
    clicks[:: RATE // 9] = 1
    for audio in (clicks, bursts(samples)[0], np.zeros(samples, np.float32)):
        place = np.arange(samples, dtype=np.float32) * np.float32(1e-12)
        source = stretch.stretch(np.stack([audio, place]), tempo, FRAMES)[1] * 1e12
        drift = source - np.arange(FRAMES) * tempo
        strays = max(stretch.DRIFT, 2 * stretch.OVERLAP * abs(tempo - 1))  # inside a hop
        assert np.abs(drift).max() < stretch.WAIT + strays + stretch.DRIFT / 2
        if 0.8 <= tempo <= 1.25:
            assert np.abs(drift.mean()) < 0.01 * RATE


@pytest.mark.parametrize("frames", [1, 9000, 264600])
@pytest.mark.parametrize("tempo, semitones", [(1.0, 0), (1.12, 0), (1.12, 2), (1.5, 12)])
def test_no_change_within_bounds_needs_more_than_the_most(
    tempo: float, semitones: int, frames: int
) -> None:
    generator = np.random.default_rng(0)
    most = stretch.most_needed(frames, tempo=tempo, semitones=semitones)
    drawn = [
        stretch.frames_needed_for(
            frames,
            tempo=generator.uniform(2 - tempo, tempo) if number else tempo,
            semitones=generator.uniform(-semitones, semitones) if number % 2 else -semitones,
        )
        for number in range(300)
    ]
    assert max(drawn) <= most
    if frames == 264600 and (tempo, semitones) != (1.0, 0):
        assert most < max(drawn) + stretch.HOP


def test_no_change_is_the_input_itself() -> None:
    audio = np.random.default_rng(6).standard_normal((2, 1000)).astype(np.float32)
    assert needed(1, 0, 900) == 900
    output = change(audio, 1, 0, 900)
    assert np.array_equal(output, audio[:, :900]) and not np.shares_memory(output, audio)


def test_speed_alone_is_only_resampled() -> None:
    """Tempo and pitch that go together need no splice: a sweep comes out as the sweep, sped up."""
    tempo = 2 ** (1 / 12)
    samples = needed(tempo, 1)
    ratio = float(resample.fraction(tempo))
    places = resample.margin(tempo) + np.arange(FRAMES) * ratio
    assert samples == resample.frames_needed(FRAMES, tempo)
    output = change(np.sin((np.arange(samples) / 200) ** 2 / 10).astype(np.float32), tempo, 1)
    assert np.abs(output - np.sin((places / 200) ** 2 / 10)).max() < 1e-3


def test_the_bits_depend_on_nothing_but_the_input() -> None:
    """Neither on a second run nor on how many threads BLAS may use; and only numpy is imported."""
    code = (
        "import hashlib, sys, numpy as np; from sepexp.dsp import stretch\n"
        "assert not {'torch', 'scipy'} & set(sys.modules)\n"
        "need = stretch.frames_needed_for(100000, tempo=0.93, semitones=2)\n"
        "audio = np.random.default_rng(0).standard_normal((2, need)).astype('f')\n"
        "out = stretch.change(audio, tempo=0.93, semitones=2, frames=100000)\n"
        "print(hashlib.sha256(out.tobytes()).hexdigest())"
    )
    root = str(Path(stretch.__file__).parents[2])
    hashes = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads, "PYTHONPATH": root},
            capture_output=True,
            check=True,
            text=True,
        ).stdout.strip()
        for threads in ("1", "2", "5")
    }
    samples = needed(0.93, 2, 100000)
    audio = np.random.default_rng(0).standard_normal((2, samples)).astype(np.float32)
    here = hashlib.sha256(change(audio, 0.93, 2, 100000).tobytes()).hexdigest()
    assert hashes == {here}


def test_impossible_changes_are_refused() -> None:
    for tempo in (0.0, -1.0, 5.0, float("nan")):
        with pytest.raises(UserError, match="0.25 and 4"):
            stretch.frames_needed(10, tempo)
    with pytest.raises(UserError, match="semitones"):
        needed(1, 36)


SONGS = os.environ.get("SEPEXP_CC0_SONGS", "")


def level_lost(tempo: float, semitones: float) -> tuple[float, float]:
    """What the level may fall and rise by in dB: 0.5, and what a stretch that keeps attacks costs.

    A chord fills the longer time that it is stretched to; an attack stays as long as it was, so
    that its share in the mean power changes by the tempo of the stretch.
    """
    decay = 10 * np.log10(tempo / 2 ** (semitones / 12))
    return 0.5 - min(0, decay), 0.5 + max(0, decay)


@pytest.mark.skipif(not SONGS, reason="SEPEXP_CC0_SONGS names no folder of songs")
@changes
def test_songs_keep_level_length_and_image(tempo: float, semitones: float) -> None:
    soundfile = pytest.importorskip("soundfile")
    files = sorted(Path(SONGS).rglob("*.flac")) + sorted(Path(SONGS).rglob("*.wav"))
    assert files, f"no flac or wav below {SONGS}"
    frames = 6 * RATE
    samples = needed(tempo, semitones, frames)
    fall, rise = level_lost(tempo, semitones)
    gains = []
    for file in files[:: max(1, len(files) // 12)]:
        start = soundfile.info(file).frames // 3
        read, _ = soundfile.read(file, samples + 10, start, dtype="float32", always_2d=True)
        song = np.ascontiguousarray(read.T)
        if song.shape[1] < samples + 10 or quiet(song):
            continue
        output = change(song, tempo, semitones, frames)
        assert output.shape == (len(song), frames)
        gains.append(level(output) - level(song[:, : int(frames * tempo)]))
        assert -fall < gains[-1] < rise, file
        delayed = change(np.stack([song[0, 10:], song[0, :-10]]), tempo, semitones, frames)
        assert image(delayed, 10 / 2 ** (semitones / 12)) > 0.99, file
    assert len(gains) > 3
    assert abs(np.mean(gains)) < 0.3


def quiet(song: np.ndarray) -> bool:
    """Whether a tenth of the blocks of 0.4 s lie 30 dB under the loudest: then borders decide."""
    blocks = song[0, : song.shape[1] // 17640 * 17640].reshape(-1, 17640)
    power = np.mean(blocks.astype(np.float64) ** 2, axis=1)
    return bool(np.mean(power < 1e-3 * power.max() + 1e-9) > 0.1)


@pytest.mark.skipif(not SONGS, reason="SEPEXP_CC0_SONGS names no folder of songs")
@changes
def test_drums_of_songs_keep_their_attacks(tempo: float, semitones: float) -> None:
    soundfile = pytest.importorskip("soundfile")
    frames = 12 * RATE
    samples = needed(tempo, semitones, frames)
    before, after = [], []
    for file in sorted(Path(SONGS).rglob("drums.*")):
        start = soundfile.info(file).frames // 3
        song = soundfile.read(file, samples, start, dtype="float32", always_2d=True)[0].mean(axis=1)
        if len(song) < samples:
            continue
        places = hits(song, (frames / RATE - 0.15) * tempo)
        before += list(attacks(song, places)[0])
        after += list(attacks(change(song, tempo, semitones, frames), places / tempo)[0])
    assert len(before) > 30
    assert np.mean(after) < 1.3 * np.mean(before)


def hits(drums: np.ndarray, end: float) -> np.ndarray:
    """Seconds where 5 ms have ten times the power of 100 ms before, nothing much louder next."""
    blocks = drums[: len(drums) // 220 * 220].reshape(-1, 220).astype(np.float64)
    power = np.mean(blocks**2, axis=1)
    past = np.array([power[max(0, block - 20) : block].mean() for block in range(1, len(power))])
    next_peak = np.array([power[block : block + 15].max() for block in range(1, len(power))])
    found = 1 + np.flatnonzero(
        (power[1:] > 10 * past) & (power[1:] * 8 > next_peak) & (power[1:] > 1e-4)
    )
    found = found[np.diff(found, prepend=-100) > 25]
    places = found * 220 / RATE
    return places[(places > 0.1) & (places < end)]
