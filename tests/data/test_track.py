"""Tracks of plain files: ranges, types, pickling, what is refused."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sepexp.data import track as tracks
from sepexp.data.folder import song_in
from sepexp.data.track import FileTrack
from sepexp.errors import UserError

RATE = 8000


def opened(folder: Path) -> FileTrack:
    song = song_in(folder)
    assert song is not None
    return song


@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_any_range_of_any_stem(tmp_path: Path, write_song: Callable, ending: str) -> None:
    stems = write_song(tmp_path / "song", ending=ending)
    song = pickle.loads(pickle.dumps(opened(tmp_path / "song")))
    assert (song.name, song.rate, song.frames, song.channels) == ("song", RATE, RATE, 2)
    assert set(song.sources) == set(stems)
    assert song.dtype == np.int16
    for source, stem in stems.items():
        for start, frames in [(0, RATE), (0, 0), (17, 100), (RATE - 1, 1)]:
            part = song.read(source, start, frames)
            assert part.dtype == np.int16
            np.testing.assert_array_equal(part, stem[:, start : start + frames])


@pytest.mark.parametrize("mixture", [True, False])
def test_the_mixture_is_shipped_or_summed(
    tmp_path: Path, write_song: Callable, mixture: bool
) -> None:
    stems = write_song(tmp_path / "song", mixture=mixture)
    if mixture:  # not the sum, as in every mixture that was coded by itself
        soundfile.write(tmp_path / "song" / "mixture.wav", 2 * stems["bass"].T, RATE)
    expected = 2 * stems["bass"] if mixture else np.sum(list(stems.values()), axis=0)
    part = opened(tmp_path / "song").read_mixture(5, 1000)
    assert part.dtype == np.float32
    np.testing.assert_allclose(part, expected[:, 5:1005] / 32768, atol=1e-6)


def test_24_bits_become_floats_without_loss(tmp_path: Path, write_song: Callable) -> None:
    write_song(tmp_path / "song", sources=("a", "b"), subtype="PCM_24")
    soundfile.write(tmp_path / "song" / "b.wav", np.full((RATE, 2), 3, np.int16), RATE)
    song = opened(tmp_path / "song")
    assert song.dtype == np.float32  # one deep stem makes the song deep
    expected = soundfile.read(tmp_path / "song" / "a.wav", dtype="float32")[0].T
    np.testing.assert_array_equal(song.read("a", 0, RATE), expected)
    np.testing.assert_array_equal(song.read("b", 0, RATE), np.float32(3 / 32768))


def test_a_mono_stem_of_a_stereo_song_sounds_on_both_sides(
    tmp_path: Path, write_song: Callable
) -> None:
    write_song(tmp_path / "song", sources=("a", "b"), mixture=False)
    mono = np.arange(RATE, dtype=np.int16)
    soundfile.write(tmp_path / "song" / "b.wav", mono, RATE)
    np.testing.assert_array_equal(
        opened(tmp_path / "song").read("b", 10, 5), [mono[10:15], mono[10:15]]
    )
    soundfile.write(tmp_path / "song" / "b.wav", np.zeros((RATE, 3)), RATE)
    with pytest.raises(UserError, match="a.wav has 2 channels, another file of song has 3"):
        opened(tmp_path / "song")


def test_a_range_outside_is_the_callers_mistake(tmp_path: Path, write_song: Callable) -> None:
    write_song(tmp_path / "song")
    song = opened(tmp_path / "song")
    for start, frames in [(-1, 5), (RATE - 4, 5), (0, -1)]:
        with pytest.raises(ValueError, match="isn't inside"):
            song.read("bass", start, frames)


def test_the_fingerprint_follows_the_audio_not_the_format(
    tmp_path: Path, write_song: Callable
) -> None:
    write_song(tmp_path / "one" / "song", ending="wav")
    write_song(tmp_path / "two" / "song", ending="flac")
    stems = write_song(tmp_path / "three" / "song", ending="wav")
    changed = stems["drums"].copy()
    changed[0, -1] += 1
    soundfile.write(tmp_path / "three" / "song" / "drums.wav", changed.T, RATE)
    one, two, three = (opened(tmp_path / x / "song").fingerprint for x in ("one", "two", "three"))
    assert one == two != three


def test_slightly_unequal_lengths_are_cut_with_a_warning(
    tmp_path: Path, write_song: Callable
) -> None:
    stems = write_song(tmp_path / "song")
    limit = round(tracks.TRIM * RATE)
    soundfile.write(tmp_path / "song" / "bass.wav", stems["bass"][:, limit:].T, RATE)
    with pytest.warns(UserWarning, match=f"song: files differ by {limit} samples"):
        song = opened(tmp_path / "song")
    assert song.frames == RATE - limit
    assert song.read("vocals", 0, song.frames).shape == (2, RATE - limit)
    soundfile.write(tmp_path / "song" / "bass.wav", stems["bass"][:, limit + 1 :].T, RATE)
    with pytest.raises(UserError, match=r"drums.wav is 0.10 s longer than .*bass.wav"):
        opened(tmp_path / "song")


def test_unequal_rates_and_empty_files_are_refused(tmp_path: Path, write_song: Callable) -> None:
    stems = write_song(tmp_path / "song")
    soundfile.write(tmp_path / "song" / "bass.wav", stems["bass"].T, 2 * RATE)
    with pytest.raises(UserError, match=r"8000 Hz but .*bass.wav has 16000 Hz"):
        opened(tmp_path / "song")
    soundfile.write(tmp_path / "song" / "bass.wav", np.zeros((0, 2)), RATE)
    with pytest.raises(UserError, match=r"bass.wav has no samples"):
        opened(tmp_path / "song")


def test_a_file_that_changes_or_goes_is_refused_before_it_is_mapped(
    tmp_path: Path, write_song: Callable
) -> None:
    stems = write_song(tmp_path / "song")
    song = opened(tmp_path / "song")
    soundfile.write(tmp_path / "song" / "bass.wav", stems["bass"][:, :100].T, RATE)
    with pytest.raises(UserError, match=r"bass.wav has changed"):
        song.read("bass", 0, RATE)
    (tmp_path / "song" / "drums.wav").unlink()
    with pytest.raises(UserError, match=r"can't read .*drums.wav"):
        song.read("drums", 0, RATE)


def test_open_files_stay_few(
    tmp_path: Path, write_song: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    songs = []
    for number in range(70):
        write_song(tmp_path / str(number), frames=10, mixture=False)
        songs.append(opened(tmp_path / str(number)))
    for song in songs:
        for source in song.sources:
            song.read(source, 0, 10)
    assert len(os.listdir("/proc/self/fd")) < tracks.OPEN_FILES + 100
