from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy import signal

from sepexp.data import demo, synth_bass, synth_chords, synth_drums
from sepexp.data.demo import STEMS, Stems, demo_folder, render_song, write_demo
from sepexp.data.synth_melody import Syllable
from sepexp.data.synth_room import duck, make_way
from sepexp.data.synth_score import draw_score
from sepexp.data.synth_tone import decay, hertz, partials
from sepexp.data.synth_voice import FORMANTS, LEAD, Voice, _glottal_table, _sing
from sepexp.errors import UserError

RATE = 44100
SMALL = {"train": 2, "valid": 1, "test": 1, "seconds": 1.0, "test_seconds": 1.5, "seed": 3}


@pytest.fixture(scope="module")
def song() -> Stems:
    return render_song(11, 20.0)


@pytest.fixture
def quick_songs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise in place of songs, where only the files matter."""

    def noise(seed: int, seconds: float) -> Stems:
        drawn = np.random.default_rng(seed).integers(-99, 99, (4, 2, int(seconds * RATE)))
        return dict(zip(STEMS, drawn.astype(np.int16), strict=True))

    monkeypatch.setattr(demo, "render_song", noise)


def sing_one(vowel: str, note: int) -> np.ndarray:
    voice = Voice(
        centre=note,
        tract=1.0,
        tilt=1.0,
        breath=0.02,
        vibrato_rate=5.6,
        vibrato_depth=0.5,
        glide=0.08,
        scoop=1.0,
        upper=(3400.0, 4300.0),
    )
    syllables = (Syllable(LEAD, 3.0, note, vowel, "", 1.0),)
    sung = _sing(np.random.default_rng(0), syllables, voice, _glottal_table(1.0), RATE)
    return sung


def middle(sung: np.ndarray) -> np.ndarray:
    return sung[int((LEAD + 0.8) * RATE) : int((LEAD + 2.8) * RATE)]


def float_mono(stem: np.ndarray) -> np.ndarray:
    return stem.mean(axis=0) / 32768.0


def longest_run(flags: np.ndarray) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def spectral_centroid(stem: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(float_mono(stem))) ** 2
    return float((power * np.fft.rfftfreq(stem.shape[1], 1 / RATE)).sum() / power.sum())


def test_song_is_a_pure_function_of_its_seed() -> None:
    once, again, other = render_song(5, 2.0), render_song(5, 2.0), render_song(6, 2.0)
    for name in STEMS:
        assert once[name].tobytes() == again[name].tobytes()
        assert once[name].tobytes() != other[name].tobytes()


@pytest.mark.parametrize(("seconds", "rate"), [(1.0, 44100), (2.3, 22050), (4.0, 48000)])
def test_stems_have_the_asked_length_and_all_sound(seconds: float, rate: int) -> None:
    stems = render_song(1, seconds, rate)
    assert tuple(stems) == STEMS
    for stem in stems.values():
        assert stem.dtype == np.int16
        assert stem.shape == (2, round(seconds * rate))
        assert np.abs(stem).max() > 500


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_mixture_has_headroom_and_stems_are_level(seed: int) -> None:
    stems = render_song(seed, 5.0)
    mixture = np.sum(list(stems.values()), axis=0, dtype=np.int64)
    assert 0.3 < np.abs(mixture).max() / 32768 < 0.9
    levels = []
    for stem in stems.values():
        wave = stem / 32768.0
        frames = wave[:, : wave.shape[1] // 2205 * 2205].reshape(2, -1, 2205)
        power = (frames**2).mean(axis=(0, 2))
        levels.append(10 * np.log10(power[power > 1e-4 * power.max()].mean()))
        assert np.abs(wave).max() < 0.9
        assert np.abs(wave.mean(axis=1)).max() < 1e-4
    assert max(levels) - min(levels) < 12.0


def test_every_stem_pauses_in_some_songs_and_never_all_at_once() -> None:
    pauses = dict.fromkeys(STEMS, 0)
    for seed in range(12):
        score = draw_score(np.random.default_rng([seed, 0]), 30.0)
        assert all(bar.sounding for bar in score.bars)
        for name in STEMS:
            sounds = len(score.has(name)) / len(score.bars)
            assert sounds >= 0.5
            pauses[name] += sounds < 1.0
    assert min(pauses.values()) >= 3


def test_silence_is_digital_zero(song: Stems) -> None:
    silent = [longest_run((stem == 0).all(axis=0)) / RATE for stem in song.values()]
    assert max(silent) > 0.8
    assert sum(run > 0.3 for run in silent) >= 2


def test_stems_differ_in_the_cues_of_real_ones(song: Stems) -> None:
    centroid = {name: spectral_centroid(stem) for name, stem in song.items()}
    assert centroid["bass"] < 400.0 < min(centroid["vocals"], centroid["other"])
    sides = {name: np.corrcoef(stem.astype(np.float64))[0, 1] for name, stem in song.items()}
    assert sides["other"] < 0.97
    assert sides["vocals"] < 0.9999
    assert min(sides["vocals"], sides["bass"], sides["drums"]) > sides["other"]


def test_singer_holds_the_note_with_a_vibrato_of_its_rate() -> None:
    sung = middle(sing_one("i", 57))
    lowest = signal.sosfiltfilt(signal.butter(4, [150, 300], "band", fs=RATE, output="sos"), sung)
    track = np.diff(np.unwrap(np.angle(signal.hilbert(lowest)))) * RATE / (2 * np.pi)
    track = track[RATE // 10 : -RATE // 10].reshape(-1, 1)[: RATE * 8 // 5 : 100, 0]
    cents = 1200 * np.log2(track / 220.0)
    assert abs(cents.mean()) < 25
    # The drawn depth is 50 cents each way; the slow wandering of the pitch comes on top.
    assert 20 < cents.std() < 60
    strength = np.abs(np.fft.rfft((cents - cents.mean()) * np.hanning(len(cents))))
    rates = np.fft.rfftfreq(len(cents), 100 / RATE)
    assert 4.8 < rates[strength.argmax()] < 6.4


@pytest.mark.parametrize("vowel", ["i", "a", "u"])
def test_vowel_has_its_first_two_formants(vowel: str) -> None:
    freq, power = signal.welch(middle(sing_one(vowel, 45)), RATE, nperseg=4096)
    # The source falls by 6 dB an octave: lifting it back leaves the resonances.
    power = power * freq**2
    first, second, _ = FORMANTS[vowel]
    # Harmonics lie 110 Hz apart, so a peak is seen no nearer than half of that.
    low = (freq > 150) & (freq < 0.5 * (first + second))
    high = (freq > 0.5 * (first + second)) & (freq < second + 500)
    assert abs(freq[low][power[low].argmax()] - first) < 90
    assert abs(freq[high][power[high].argmax()] - second) < 110


def every_note() -> Iterator[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    for timbre in synth_bass.TIMBRES:
        yield timbre, synth_bass._tone(rng, timbre, 40, RATE // 4, 1.0, RATE)
    for timbre in dict.fromkeys(synth_chords.HELD + synth_chords.STRUCK):
        part = replace(synth_chords._draw_part(rng, True), timbre=timbre)
        yield timbre, synth_chords._tone(rng, part, 64, RATE // 4, RATE)
    for name, drum in synth_drums._build_kit(rng, RATE).items():
        yield name, drum.hit(1.0, 0)
    yield "voice", sing_one("a", 57)


def test_no_note_begins_or_ends_with_a_click() -> None:
    for name, sound in every_note():
        peak = np.abs(sound).max()
        assert peak > 0.05, name
        assert np.abs(sound[..., 0]).max() < 0.005 * peak, name
        assert np.abs(sound[..., -1]).max() < 0.001 * peak, name


def test_partials_equal_the_plain_sum_of_sines() -> None:
    time = np.arange(3000) / RATE
    plain = 0.5 * np.exp(-3 * time) * np.sin(2 * np.pi * 440 * time + 0.3)
    plain += 0.2 * np.exp(-9 * time) * np.sin(2 * np.pi * 5000 * time + 0.3)
    made = partials([440.0, 5000.0, 21000.0], [0.5, 0.2, 1.0], [3.0, 9.0, 0.0], 3000, RATE, 0.3)
    # Single precision against double; the third partial lies above 0.45 of the rate.
    np.testing.assert_allclose(made, plain, atol=2e-6)


def test_pitch_and_decay_mean_what_they_say() -> None:
    np.testing.assert_allclose(hertz([57, 69, 81]), [220.0, 440.0, 880.0])
    assert decay(RATE + 1, RATE, 1.0)[-1] == pytest.approx(1e-3, rel=1e-3)


def test_bass_steps_back_while_the_kick_sounds_and_only_then() -> None:
    bass, kick = np.ones((2, 2 * RATE), np.float32), np.zeros((2, 2 * RATE), np.float32)
    kick[:, RATE : RATE + RATE // 5] = np.sin(2 * np.pi * 55 * np.arange(RATE // 5) / RATE)
    ducked = duck(bass, kick, 0.8, RATE)
    assert ducked[:, RATE + RATE // 10].max() < 0.3
    np.testing.assert_allclose(ducked[:, [0, RATE // 2, 2 * RATE - 1]], 1.0, atol=0.01)


@pytest.mark.parametrize(("pitch", "fall"), [(1095.0, 6.0), (60.0, 0.1), (12000.0, 0.05)])
def test_chords_make_way_around_one_kilohertz(pitch: float, fall: float) -> None:
    tone = np.sin(2 * np.pi * pitch * np.arange(RATE, dtype=np.float32) / RATE)
    left = make_way(np.stack([tone, tone]), 6.0, RATE)[:, RATE // 2 :]
    assert -10 * np.log10(2 * (left**2).mean()) == pytest.approx(fall, abs=0.1)


def test_layout_on_disk(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    write_demo(tmp_path, **SMALL, progress=lambda done, songs: told.append((done, songs)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    train = sorted(path.name for path in (tmp_path / "train").iterdir())
    test = sorted(path.name for path in (tmp_path / "test").iterdir())
    valid = (tmp_path / "validation.txt").read_text().splitlines()
    assert (len(train), len(test), len(valid)) == (3, 1, 1)
    assert set(valid) < set(train)
    assert all(name.startswith("Demo 0") for name in train + test)
    assert json.loads((tmp_path / "demo.json").read_text())["seed"] == 3
    assert not list(tmp_path.glob(".*")) and not (tmp_path / "demo.part.json").exists()
    contents = set()
    for folder in [*(tmp_path / "train").iterdir(), *(tmp_path / "test").iterdir()]:
        assert len(list(folder.iterdir())) == 5
        stems = [soundfile.read(folder / f"{stem}.wav", dtype="int16")[0] for stem in STEMS]
        mixture, rate = soundfile.read(folder / "mixture.wav", dtype="int16")
        seconds = 1.5 if folder.parent.name == "test" else 1.0
        assert rate == RATE and mixture.shape == (round(seconds * RATE), 2)
        assert soundfile.info(folder / "mixture.wav").subtype == "PCM_16"
        np.testing.assert_array_equal(mixture, np.sum(stems, axis=0, dtype=np.int32))
        contents.add(mixture.tobytes())
    assert len(contents) == 4


def test_an_interrupted_run_goes_on_and_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_songs: None
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    write_demo(whole, **SMALL)
    write, count = soundfile.write, 0

    def stops_in_the_second_song(*args: object, **kwargs: object) -> None:
        nonlocal count
        count += 1
        if count == 8:
            raise KeyboardInterrupt
        write(*args, **kwargs)

    monkeypatch.setattr(demo.soundfile, "write", stops_in_the_second_song)
    with pytest.raises(KeyboardInterrupt):
        write_demo(broken, **SMALL)
    assert len(list((broken / "train").iterdir())) == 1
    assert not (broken / "demo.json").exists()
    monkeypatch.setattr(demo.soundfile, "write", write)
    kept = next((broken / "train").iterdir())
    before = kept.stat().st_ino
    write_demo(broken, **SMALL)
    assert kept.stat().st_ino == before
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(broken) for path in broken.rglob("*") if path.is_file())
    assert all((whole / path).read_bytes() == (broken / path).read_bytes() for path in files)


def test_two_demos_never_mix_in_one_folder(tmp_path: Path, quick_songs: None) -> None:
    write_demo(tmp_path, **{**SMALL, "train": 0, "valid": 0})
    with pytest.raises(UserError, match="other settings"):
        write_demo(tmp_path, **{**SMALL, "train": 0, "valid": 0, "seed": 4})


@pytest.mark.parametrize(("name", "value"), [("train", -1), ("seed", -2), ("seconds", 0.2)])
def test_settings_that_make_no_song_are_refused(tmp_path: Path, name: str, value: float) -> None:
    with pytest.raises(UserError, match=f"{name}="):
        write_demo(tmp_path, **{**SMALL, name: value})


def test_no_two_songs_of_any_demo_share_a_seed() -> None:
    seeds = [
        demo._song_seed(seed, split, index)
        for seed in range(4)
        for split in demo.SPLITS
        for index in (0, 1, 500, demo.SONGS_EACH - 1)
    ]
    assert len(set(seeds)) == len(seeds)


def test_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEPEXP_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = demo_folder(**SMALL)
    assert folder.parent == tmp_path / "sepexp"
    assert folder.name.startswith(f"demo-{demo.VERSION}-")
    assert demo_folder(**SMALL) == folder
    assert demo_folder(**{**SMALL, "seconds": 2.0}) != folder
    monkeypatch.setenv("SEPEXP_CACHE", str(tmp_path / "own"))
    assert demo_folder(**SMALL) == tmp_path / "own" / folder.name
