"""`.stem.mp4`: one pass of PyAV, against the source and, where there is one, the ffmpeg program."""

from __future__ import annotations

import builtins
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sepexp.data import stems
from sepexp.data.store import Store
from sepexp.data.track import Corpus
from sepexp.errors import UserError

RATE, PACKET = 8000, 1024
FRAMES = 12000  # whole milliseconds, which is how exactly an mp4 knows its length
NUMBERS = {"vocals": 4, "drums": 1, "bass": 2, "other": 3}


@pytest.fixture
def song(tmp_path: Path, write_stems: Callable) -> tuple[Path, np.ndarray]:
    path = tmp_path / "a.stem.mp4"
    return path, write_stems(path, frames=FRAMES)


def test_the_streams_come_back_in_place(song: tuple[Path, np.ndarray]) -> None:
    path, sources = song
    assert stems.describe(path) == [(FRAMES, RATE, 2)] * 5
    decoded = stems.decode(path)
    assert decoded.dtype == np.int16
    assert decoded.shape[:2] == (5, 2)
    # the encoder's delay is off, its last packet's padding may be there
    assert FRAMES <= decoded.shape[2] < FRAMES + PACKET
    error = decoded[..., :FRAMES] / 32768 - sources
    inside = slice(PACKET, FRAMES - PACKET)
    noise = np.mean(error[..., inside] ** 2, axis=-1) / np.mean(sources[..., inside] ** 2, axis=-1)
    # a shift by one sample gives -16 dB at the lowest tone, a swapped stream +3 dB
    assert noise.max() < 1e-3


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the ffmpeg program")
def test_within_one_step_of_ffmpeg(song: tuple[Path, np.ndarray]) -> None:
    path, _ = song
    decoded = stems.decode(path)
    for number, ours in enumerate(decoded):
        command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", f"0:{number}"]
        raw = subprocess.run([*command, "-f", "s16le", "-"], capture_output=True, check=True)
        theirs = np.frombuffer(raw.stdout, "<i2").reshape(-1, 2).T
        # version 9 cuts the last packet's padding off, versions before keep it
        assert theirs.shape[1] in (decoded.shape[2], FRAMES)
        difference = theirs.astype(int) - ours[:, : theirs.shape[1]]
        assert np.abs(difference).max() <= 1  # decoders round differently in their last bit


@pytest.mark.skipif(
    not (shutil.which("ffmpeg") and shutil.which("ffprobe")),
    reason="needs the ffmpeg and ffprobe programs",
)
def test_the_store_equals_musdbs_own_reading(tmp_path: Path, write_stems: Callable) -> None:
    musdb, stempeg = pytest.importorskip("musdb"), pytest.importorskip("stempeg")
    path = tmp_path / "train" / "Some - Song.stem.mp4"
    write_stems(path)
    track = stems.from_stems("Some - Song", path, NUMBERS, 0)
    store, corpus = (
        Store(form="auto", folder=str(tmp_path / "store"), processes=1),
        Corpus([track], [], [], ""),
    )
    store.prepare(corpus)
    kept = store.open(corpus).train[0]
    (song,) = musdb.DB(root=str(tmp_path), subsets="train", is_wav=False)
    whole, _ = stempeg.read_stems(str(path))
    for source, number in NUMBERS.items():
        ours = kept.read(source, 0, kept.frames).T / 32768
        for theirs in (song.sources[source].audio, whole[number]):
            assert ours.shape == theirs.shape
            assert np.abs(ours - theirs).max() <= 1 / 32768 + 1e-9


def test_a_track_of_the_file(song: tuple[Path, np.ndarray]) -> None:
    path, _ = song
    track = stems.from_stems("a", path, NUMBERS, 0)
    decoded = stems.decode(path)
    assert (track.rate, track.frames, track.channels) == (RATE, FRAMES, 2)
    assert track.sources == tuple(NUMBERS)
    np.testing.assert_array_equal(track.read("bass", 7, 100), decoded[2, :, 7:107])
    np.testing.assert_array_equal(track.read_mixture(7, 100), decoded[0, :, 7:107] / 32768)
    assert track.decoded().frames == decoded.shape[2]
    with pytest.raises(ValueError, match="isn't inside"):
        track.read("bass", FRAMES, 1)


@pytest.mark.parametrize("streams", [1, 4, 6])
def test_another_number_of_streams_is_refused(
    tmp_path: Path, write_stems: Callable, streams: int
) -> None:
    write_stems(tmp_path / "a.stem.mp4", streams=streams)
    with pytest.raises(UserError, match=f"has {streams} audio streams: expected 5"):
        stems.from_stems("a", tmp_path / "a.stem.mp4", NUMBERS, 0)


def test_damaged_files_are_refused(song: tuple[Path, np.ndarray]) -> None:
    path, _ = song
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])  # the index stands at the end and is gone
    with pytest.raises(UserError, match=r"a.stem.mp4 can't be opened .*damaged"):
        stems.describe(path)
    with pytest.raises(UserError, match="can't be opened"):
        stems.describe(path.with_name("nothing.stem.mp4"))


def test_a_file_cut_behind_its_index_is_truncated(song: tuple[Path, np.ndarray]) -> None:
    import av

    path, _ = song
    fast = path.with_name("fast.stem.mp4")
    with (
        av.open(str(path)) as source,
        av.open(str(fast), "w", format="mp4", options={"movflags": "faststart"}) as sink,
    ):
        copies = [sink.add_stream_from_template(stream) for stream in source.streams.audio]
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                sink.mux(packet)
    content = fast.read_bytes()
    fast.write_bytes(content[: len(content) * 2 // 3])
    assert stems.describe(fast)[0].frames == FRAMES
    with pytest.raises(UserError, match="fast.stem.mp4 (is truncated|can't be decoded)"):
        stems.decode(fast)


def test_without_pyav_it_says_what_to_install(
    song: tuple[Path, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    ordinary = builtins.__import__

    def without(name: str, *arguments: Any) -> Any:
        if name == "av":
            raise ModuleNotFoundError(name="av")
        return ordinary(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"needs PyAV: run `pip install 'sepexp\[stems\]'`"):
        stems.describe(song[0])
