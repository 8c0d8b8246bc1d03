"""The store: equal to what it was made of, whole or not there, and honest about the disk."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile

from sepexp.data import stems, storing
from sepexp.data.folder import Folder
from sepexp.data.store import Store, StoredTrack, locked
from sepexp.data.track import Corpus, Track
from sepexp.errors import UserError

RATE = 8000
NAMED = {"valid": ["b"], "test": ["c"]}


@pytest.fixture
def root(tmp_path: Path, write_song: Callable) -> Path:
    for song in "abc":
        write_song(tmp_path / "songs" / song, sources=("kick", "piano"), frames=RATE + 13)
    return tmp_path / "songs"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "store"


def opened(root: Path) -> Corpus:
    return Folder(root=str(root), **NAMED).open()


def store(place: Path, form: str = "auto", processes: int = 1) -> Store:
    return Store(form=form, folder=str(place), processes=processes)


def songs(corpus: Corpus) -> list[Track]:
    return [*corpus.train, *corpus.valid, *corpus.test]


def assert_same(stored: Track, plain: Track) -> None:
    assert (stored.name, stored.rate, stored.frames) == (plain.name, plain.rate, plain.frames)
    assert (stored.channels, stored.dtype) == (plain.channels, plain.dtype)
    assert stored.sources == plain.sources
    for start, frames in [(0, plain.frames), (17, 100), (plain.frames - 1, 1), (5, 0)]:
        for source in plain.sources:
            part = stored.read(source, start, frames)
            assert part.dtype == plain.dtype
            np.testing.assert_array_equal(part, plain.read(source, start, frames))
        np.testing.assert_array_equal(
            stored.read_mixture(start, frames), plain.read_mixture(start, frames)
        )
    assert stored.fingerprint == plain.fingerprint


@pytest.mark.parametrize("form", ["auto", "flac"])
@pytest.mark.parametrize(("ending", "subtype"), [("wav", "PCM_16"), ("flac", "PCM_24")])
def test_what_is_stored_reads_as_the_files(
    tmp_path: Path, place: Path, write_song: Callable, form: str, ending: str, subtype: str
) -> None:
    for song in "abc":
        folder = tmp_path / "songs" / song
        write_song(folder, sources=("kick", "piano"), ending=ending, subtype=subtype)
    corpus = opened(tmp_path / "songs")
    store(place, form).prepare(corpus)
    stored = store(place, form).open(corpus)
    for one, other in zip(songs(stored), songs(corpus), strict=True):
        assert isinstance(one, StoredTrack)
        assert_same(pickle.loads(pickle.dumps(one)), other)
    store(place, form).check(corpus)


def test_the_array_is_planar_and_little_endian(root: Path, place: Path) -> None:
    corpus = opened(root)
    store(place).prepare(corpus)
    song = corpus.train[0]
    raw = np.fromfile(next(place.glob("a-*.pcm")), dtype="<i2").reshape(2, 2, song.frames)
    np.testing.assert_array_equal(raw[1], song.read("piano", 0, song.frames))


def test_the_index_measures(tmp_path: Path, place: Path, write_song: Callable) -> None:
    for song in "abc":
        write_song(tmp_path / "songs" / song, sources=("kick", "piano"), frames=RATE)
    loud = np.zeros((RATE + 200, 2), np.int16)
    loud[: RATE // 2] = 16384
    loud[-100:] = (32767, -32768)
    soundfile.write(tmp_path / "songs" / "a" / "kick.wav", loud, RATE)
    soundfile.write(tmp_path / "songs" / "a" / "piano.wav", loud // 2, RATE)
    soundfile.write(tmp_path / "songs" / "a" / "mixture.wav", loud // 2, RATE)
    corpus = opened(tmp_path / "songs")
    store(place).prepare(corpus)
    levels = store(place).open(corpus).train[0].levels()
    assert levels is not None
    # two blocks of half a second and a rest of 200 samples, 100 of them at full scale
    np.testing.assert_allclose(levels["kick"], [0.5, 0.0, np.sqrt(0.5)], rtol=1e-4)
    np.testing.assert_allclose(levels["piano"], [0.25, 0.0, np.sqrt(0.125)], rtol=1e-4)
    index = json.loads(next(place.glob("a-*.json")).read_text())
    assert index["clipped"] == {"kick": 200, "piano": 0}
    assert (index["frames"], index["rate"], index["sources"]) == (
        RATE + 200,
        RATE,
        ["kick", "piano"],
    )


def test_stem_mp4_is_stored_with_its_mixture(
    tmp_path: Path, place: Path, write_stems: Callable
) -> None:
    path = tmp_path / "a.stem.mp4"
    write_stems(path, frames=5000)
    numbers = {"vocals": 4, "drums": 1, "bass": 2, "other": 3}
    corpus = Corpus([stems.from_stems("a", path, numbers, 0)], [], [], "")
    with pytest.raises(UserError, match="data.store=none .*set data.store=auto"):
        store(place, "none").prepare(corpus)
    store(place).prepare(corpus)
    song = store(place).open(corpus).train[0]
    decoded = stems.decode(path)
    assert song.frames == decoded.shape[2]
    assert song.sources == tuple(numbers)
    for source, number in numbers.items():
        np.testing.assert_array_equal(song.read(source, 0, song.frames), decoded[number])
    path.chmod(0)  # the mixture doesn't come from there
    np.testing.assert_array_equal(song.read_mixture(0, song.frames), decoded[0] / 32768)


def test_none_reads_in_place(root: Path, place: Path) -> None:
    corpus = opened(root)
    store(place, "none").prepare(corpus)
    assert store(place, "none").open(corpus) is corpus
    assert not place.exists()


def test_an_unknown_form(place: Path) -> None:
    with pytest.raises(UserError, match="data.store is zip: expected one of auto, none, flac"):
        store(place, "zip")


def test_prepared_songs_are_left_alone_and_changed_ones_made_anew(
    root: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store(place, "flac").prepare(opened(root))
    assert "storing: 3 songs need" in capsys.readouterr().err
    before = {path.name: path.stat().st_mtime_ns for path in place.iterdir()}
    store(place, "flac").prepare(opened(root))
    assert capsys.readouterr().err == ""
    assert before == {path.name: path.stat().st_mtime_ns for path in place.iterdir()}

    soundfile.write(root / "b" / "kick.wav", np.full((RATE + 13, 2), 7, np.int16), RATE)
    with pytest.raises(UserError, match="b isn't in the store .* or has changed: run"):
        store(place, "flac").open(opened(root))
    store(place, "flac").prepare(opened(root))
    assert "storing: 1 songs need" in capsys.readouterr().err
    corpus = store(place, "flac").open(opened(root))
    np.testing.assert_array_equal(corpus.valid[0].read("kick", 0, 3), 7)


def test_auto_reads_an_unprepared_wav_in_place_and_nothing_else(
    root: Path, place: Path, write_song: Callable
) -> None:
    corpus = opened(root)
    assert songs(store(place).open(corpus)) == songs(corpus)
    with pytest.raises(UserError, match=r"a isn't in the store .*sepexp data prepare"):
        store(place, "flac").open(corpus)
    shutil.rmtree(root / "a")
    write_song(root / "a", sources=("kick",), ending="flac")
    with pytest.raises(UserError, match="a isn't in the store"):
        store(place).open(opened(root))


def damage_size(index: Path) -> None:
    path = index.with_suffix(".pcm")
    path.write_bytes(path.read_bytes()[:-2])


def damage_index(index: Path) -> None:
    index.write_text(index.read_text()[:40])


def remove_data(index: Path) -> None:
    index.with_suffix(".pcm").unlink()


def make_older(index: Path) -> None:
    index.write_text(json.dumps({**json.loads(index.read_text()), "version": 0}))


@pytest.mark.parametrize("damage", [damage_size, damage_index, remove_data, make_older])
def test_a_damaged_or_old_entry_is_made_anew(
    root: Path, place: Path, damage: Callable[[Path], None]
) -> None:
    corpus = opened(root)
    store(place).prepare(corpus)
    damage(next(place.glob("c-*.json")))
    assert store(place).open(corpus).test == corpus.test  # the wav itself, not the entry
    store(place).prepare(corpus)
    assert_same(store(place).open(corpus).test[0], corpus.test[0])


def test_an_entry_of_a_newer_version_is_left_alone(root: Path, place: Path) -> None:
    corpus = opened(root)
    store(place).prepare(corpus)
    index = next(place.glob("c-*.json"))
    index.write_text(json.dumps({**json.loads(index.read_text()), "version": 99}))
    for attempt in (store(place).prepare, store(place).open):
        with pytest.raises(UserError, match=r"newer sepexp \(store version 99.*data.store_dir"):
            attempt(corpus)


@pytest.mark.parametrize("form", ["auto", "flac"])
def test_checking_finds_a_changed_bit(root: Path, place: Path, form: str) -> None:
    corpus = opened(root)
    store(place, form).prepare(corpus)
    path = next(place.glob("b-*.pcm" if form == "auto" else "b-*.1.flac"))
    content = bytearray(path.read_bytes())
    content[-5000] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="piano of b is damaged in the store, the entry was remov"):
        store(place, form).check(corpus)
    store(place, form).prepare(corpus)
    store(place, form).check(corpus)


def test_what_was_left_half_written_is_cleared_and_the_rest_kept(root: Path, place: Path) -> None:
    corpus = opened(root)
    store(place).prepare(corpus)
    kept = next(place.glob("a-*.pcm")).stat().st_mtime_ns
    next(place.glob("b-*.json")).unlink()  # as after a kill between data and index
    (place / "c-0.pcm.part").write_bytes(b"half")
    store(place).prepare(corpus)
    assert not list(place.glob("*.part"))
    assert next(place.glob("a-*.pcm")).stat().st_mtime_ns == kept
    assert_same(store(place).open(corpus).valid[0], corpus.valid[0])


def test_several_processes_store_the_same(root: Path, tmp_path: Path) -> None:
    corpus = opened(root)
    for processes in (1, 2):
        store(tmp_path / str(processes), processes=processes).prepare(corpus)
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / number).glob("?-*")}
        for number in ("1", "2")
    )
    assert one == two
    assert len(one) == 6


def test_a_damaged_input_stops_with_its_name_and_keeps_the_others(
    tmp_path: Path, place: Path, write_song: Callable
) -> None:
    for song in "abc":
        write_song(tmp_path / song, sources=("kick",), frames=9 * RATE, ending="flac")
    path = tmp_path / "c" / "kick.flac"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    corpus = opened(tmp_path)
    with pytest.raises(UserError, match=r"c.kick.flac .*damaged"):
        store(place).prepare(corpus)
    assert sorted(path.name[0] for path in place.glob("*.json")) == ["a", "b"]
    assert not list(place.glob("*.part"))


def test_float_over_full_scale_fits_into_planar_only(
    tmp_path: Path, place: Path, write_song: Callable
) -> None:
    for song in "abc":
        write_song(tmp_path / song, sources=("kick",), subtype="FLOAT", mixture=False)
    loud = np.full((RATE, 2), 1.5, np.float32)
    soundfile.write(tmp_path / "a" / "kick.wav", loud, RATE, subtype="FLOAT")
    corpus = opened(tmp_path)
    with pytest.raises(UserError, match="kick of a goes over full scale"):
        store(place, "flac").prepare(corpus)
    store(place).prepare(corpus)
    assert store(place).open(corpus).train[0].read("kick", 0, 1)[0, 0] == 1.5


class Usage(NamedTuple):
    free: int


def test_the_disk_is_looked_at_beforehand(
    root: Path,
    place: Path,
    write_song: Callable,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    need = 3 * 2 * 2 * 2 * (RATE + 13)  # songs, sources, channels, bytes, samples
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(need - 1))
    store(place).prepare(opened(root))
    assert "not storing, the wav files are read in place: 3 songs need" in capsys.readouterr().err
    assert [path.name for path in place.iterdir()] == ["store.lock"]
    shutil.rmtree(root / "a")
    write_song(root / "a", sources=("kick", "piano"), frames=RATE + 13, ending="flac")
    with pytest.raises(UserError, match=r"too small .*data.store=flac .*data.store_dir"):
        store(place).prepare(opened(root))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(need))
    store(place).prepare(opened(root))
    assert len(list(place.glob("*.json"))) == 3


def test_a_disk_that_fills_up_leaves_nothing_half(
    root: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = [2]

    def allocate(handle: int, start: int, length: int) -> None:
        room[0] -= 1
        if room[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", allocate)
    with pytest.raises(UserError, match="No space left on device; make room"):
        store(place).prepare(opened(root))
    assert not list(place.glob("*.part"))
    assert len(list(place.glob("*.json"))) == 2


def test_a_folder_that_cannot_be_made(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"can't write to .*set data.store_dir or SEPEXP_CACHE"):
        store(tmp_path / "file" / "store").prepare(opened(root))


def test_a_second_process_waits_and_says_for_whom(
    root: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = opened(root)
    with locked(place / "store.lock", "test"):
        second = threading.Thread(target=store(place).prepare, args=(corpus,))
        second.start()
        said = ""
        deadline = time.monotonic() + 10
        while "waiting" not in said and time.monotonic() < deadline:
            time.sleep(0.01)
            said += capsys.readouterr().err
        assert said == f"preparing the store in {place}: waiting for process {os.getpid()}\n"
        assert not list(place.glob("*.json"))
    second.join(timeout=30)
    assert len(list(place.glob("*.json"))) == 3


def test_the_lock_of_a_killed_process_is_free(place: Path) -> None:
    code = f"""
import os, pathlib, signal
from sepexp.data.store import locked
with locked(pathlib.Path({str(place)!r}) / "store.lock", "test"):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    with locked(place / "store.lock", "test"):
        assert (place / "store.lock").read_text() == f"{os.getpid()}\n"


def test_loader_workers_stay_light() -> None:
    code = "import sys, sepexp.data.track, sepexp.data.store\n"
    code += "print([name for name in ('torch', 'soundfile', 'av') if name in sys.modules])"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True).stdout == "[]\n"


def test_progress_counts_songs(capsys: pytest.CaptureFixture[str]) -> None:
    progress = storing._Progress([10.0, 30.0])
    progress.done(30.0)
    progress.done(10.0)
    assert capsys.readouterr().err == "stored 2/2 songs, 100%, 0 s\n"
