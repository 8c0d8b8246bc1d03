"""MUSDB18 in both forms, on songs that are written here."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import urllib.response
import zipfile
from collections.abc import Callable
from email.message import Message
from pathlib import Path

import numpy as np
import pytest

from sepexp.data import musdb18
from sepexp.data.musdb18 import MUSDB18, MUSDB18_7s
from sepexp.data.track import Corpus
from sepexp.errors import UserError

STANDARD = ["Actions - One Minute Smile", "Young Griffo - Pennies"]  # two of musdb's 14
TRAIN, TEST = ["A Classic Education - NightOwl", "ANiMAL - Clinic A"], ["AM Contra - Heart"]


@pytest.fixture
def hq(tmp_path: Path, write_song: Callable) -> Path:
    for song in STANDARD + TRAIN:
        write_song(tmp_path / "train" / song, frames=100)
    for song in TEST:
        write_song(tmp_path / "test" / song, frames=100)
    return tmp_path


@pytest.fixture
def mp4(tmp_path: Path, write_stems: Callable) -> Path:
    songs = [f"train/{song}" for song in STANDARD + TRAIN] + [f"test/{song}" for song in TEST]
    write_stems(tmp_path / "song.mp4", frames=4000)
    for song in songs:
        (tmp_path / song).parent.mkdir(exist_ok=True)
        shutil.copy(tmp_path / "song.mp4", tmp_path / f"{song}.stem.mp4")
    return tmp_path


def names(corpus: Corpus) -> list[list[str]]:
    return [[track.name for track in tracks] for tracks in corpus[:3]]


def test_hq_wav(hq: Path, tmp_path: Path, write_song: Callable) -> None:
    (hq / "train" / ".cache").mkdir()
    (hq / "train" / "notes" / "deep").mkdir(parents=True)
    corpus = MUSDB18(root=str(hq)).open()
    assert names(corpus) == [sorted(TRAIN), STANDARD, TEST]
    assert corpus.note == "2 of musdb's 14 validation songs"
    stems = write_song(tmp_path / "again" / TEST[0], frames=100)
    song = corpus.test[0]
    assert set(song.sources) == set(stems)
    for source, stem in stems.items():
        np.testing.assert_array_equal(song.read(source, 0, 100), stem)
    total = np.sum(list(stems.values()), axis=0) / 32768
    np.testing.assert_allclose(song.read_mixture(0, 100), total, atol=1e-6)


def test_stem_mp4(mp4: Path) -> None:
    corpus = MUSDB18(root=str(mp4)).open()
    assert names(corpus) == [sorted(TRAIN), STANDARD, TEST]
    song = corpus.train[0]
    assert set(song.sources) == {"vocals", "drums", "bass", "other"}

    def pitch(waveform: np.ndarray) -> float:
        spectrum = np.abs(np.fft.rfft(waveform[0, 1000:3000] * np.hanning(2000)))
        return float(np.argmax(spectrum)) * song.rate / 2000

    # the writer gives stream n a tone of 200 (n + 1) Hz; the order is MUSDB18's
    heard = [pitch(song.read(name, 0, 4000)) for name in ("drums", "bass", "other", "vocals")]
    assert [pitch(song.read_mixture(0, 4000)), *heard] == [200, 400, 600, 800, 1000]


def test_without_ffmpeg_and_any_program(hq: Path) -> None:
    code = f"""
from sepexp.data.musdb18 import MUSDB18
corpus = MUSDB18(root={str(hq)!r}).open()
print(len(corpus.train), len(corpus.valid), len(corpus.test))
"""
    environment = {**os.environ, "PATH": ""}
    command = [sys.executable, "-c", code]
    shown = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert shown.stdout.split() == ["2", "2", "1"]


def test_musdb_keeps_its_own_reader() -> None:
    with musdb18._musdb() as musdb:
        inside = musdb.audio_classes.stempeg
    assert inside.Info is musdb18._Info
    assert musdb.audio_classes.stempeg is sys.modules["stempeg"]


def test_without_the_standard_songs_the_split_is_drawn(
    tmp_path: Path, write_song: Callable
) -> None:
    for song in ("train/a", "train/b", "train/c", "test/d"):
        write_song(tmp_path / song, frames=50)
    corpus = MUSDB18(root=str(tmp_path)).open()
    assert [len(split) for split in corpus[:3]] == [2, 1, 1]
    assert corpus.note.endswith(f"drawn by hash: {corpus.valid[0].name}")


def test_no_data_set_names_the_ways_on(tmp_path: Path, write_song: Callable) -> None:
    for root in (None, "", str(tmp_path / "nowhere"), str(tmp_path)):
        with pytest.raises(UserError) as caught:
            MUSDB18(root=root).open()
        for way in ("data.corpus.root", "MUSDB18_PATH", "data=musdb18_7s", "data=demo"):
            assert way in str(caught.value)
    write_song(tmp_path / "train" / "a", frames=50)
    (tmp_path / "test").mkdir()
    with pytest.raises(UserError, match="test holds no song"):
        MUSDB18(root=str(tmp_path)).open()
    write_song(tmp_path / "test" / "b", frames=50)
    (tmp_path / "train" / "a").rename(tmp_path / "train" / STANDARD[0])
    with pytest.raises(UserError, match="holds validation songs only"):
        MUSDB18(root=str(tmp_path)).open()


@pytest.mark.parametrize("gone", ["bass", "mixture"])
def test_a_missing_file_is_refused(hq: Path, gone: str) -> None:
    (hq / "test" / TEST[0] / f"{gone}.wav").unlink()
    with pytest.raises(UserError, match=f"{TEST[0]} has no {gone}.wav"):
        MUSDB18(root=str(hq)).open()


def test_damaged_files_are_refused(hq: Path) -> None:
    path = hq / "test" / TEST[0] / "mixture.wav"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match="mixture.wav is truncated"):
        MUSDB18(root=str(hq)).open()


def test_an_mp4_without_five_streams_is_refused(mp4: Path, write_stems: Callable) -> None:
    write_stems(mp4 / "test" / "odd.stem.mp4", streams=4, frames=2000)
    with pytest.raises(UserError, match="odd.stem.mp4 has 4 audio streams: expected 5"):
        MUSDB18(root=str(mp4)).open()


def test_the_excerpts_are_downloaded_by_musdb(
    mp4: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(mp4.rglob("*.stem.mp4")):
            file.write(path, path.relative_to(mp4))
    asked = []

    def urlopen(request: object) -> urllib.response.addinfourl:
        asked.append(request)
        content = io.BytesIO(archive.getvalue())
        return urllib.response.addinfourl(content, Message(), "https://example.org")

    with musdb18._musdb() as musdb:
        monkeypatch.setattr(musdb, "urlopen", urlopen)
    corpus = MUSDB18_7s(root=None)
    corpus.prepare()
    corpus.prepare()
    assert len(asked) == 1
    assert corpus.root == cache / "musdb18_7s"
    assert names(corpus.open()) == [sorted(TRAIN), STANDARD, TEST]
    assert not (cache / "musdb18_7s.part").exists()


@pytest.mark.parametrize("answer", [OSError("no route to host"), b"<html>not a zip</html>"])
def test_a_failed_download_is_one_sentence(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, answer: Exception | bytes
) -> None:
    def urlopen(request: object) -> urllib.response.addinfourl:
        if isinstance(answer, Exception):
            raise answer
        return urllib.response.addinfourl(io.BytesIO(answer), Message(), "https://example.org")

    with musdb18._musdb() as musdb:
        monkeypatch.setattr(musdb, "urlopen", urlopen)
    corpus = MUSDB18_7s(root=str(tmp_path / "here"))
    with pytest.raises(UserError, match=r"failed \(.*\): fetch https://.*7-STEMS.zip .* unpack"):
        corpus.prepare()
    assert not list(tmp_path.glob("here*"))
    with pytest.raises(UserError, match="there is no MUSDB18 in"):
        corpus.open()
