"""Files to arrays and back, against soundfile."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sepexp import audio
from sepexp.errors import UserError

RATE = 8000
FORMS = [
    ("wav", "PCM_16", np.int16),
    ("wav", "PCM_24", np.float32),
    ("wav", "PCM_32", np.float32),
    ("wav", "FLOAT", np.float32),
    ("wav", "PCM_U8", np.int16),
    ("flac", "PCM_16", np.int16),
    ("flac", "PCM_24", np.float32),
    ("rf64", "PCM_16", np.int16),
]


def noise(channels: int, frames: int = 1001) -> np.ndarray:
    return np.random.default_rng(3).uniform(-0.9, 0.9, (channels, frames)).astype(np.float32)


@pytest.mark.parametrize(("ending", "subtype", "dtype"), FORMS)
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_load_agrees_with_soundfile(
    tmp_path: Path, ending: str, subtype: str, dtype: type, channels: int
) -> None:
    path = tmp_path / f"a.{ending}"
    soundfile.write(path, noise(channels).T, RATE, subtype=subtype, format=ending.upper())
    found = audio.info(path)
    assert found[:3] == (1001, RATE, channels)
    expected = soundfile.read(path, dtype=np.dtype(dtype).name, always_2d=True)[0].T
    assert (found.offset is not None) == (ending == "wav" and subtype != "PCM_U8")
    for start, frames in [(0, None), (0, 10), (500, 501), (1001, 0)]:
        array = audio.load(path, start, frames)
        assert array.dtype == dtype
        stop = None if frames is None else start + frames
        np.testing.assert_array_equal(array, expected[:, start:stop])


def test_read_gives_floats_and_rate(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([[16384, -32768]] * 5, np.int16), RATE)
    waveform, rate = audio.read(tmp_path / "a.wav", 1, 3)
    assert rate == RATE
    assert torch.equal(waveform, torch.tensor([[0.5] * 3, [-1.0] * 3]))


@pytest.mark.parametrize(("bits", "step"), [(16, 2**-15), (24, 2**-23), (32, 0.0)])
def test_what_is_written_is_read_again(tmp_path: Path, bits: int, step: float) -> None:
    path = tmp_path / "deep" / "a.wav"
    wave = torch.from_numpy(noise(2))
    audio.write_wav(path, wave, RATE, bits=bits)
    again, rate = audio.read(path)
    assert rate == RATE
    assert (again - wave).abs().max() <= step
    assert [file.name for file in path.parent.iterdir()] == ["a.wav"]


def test_int16_is_written_exactly_and_overs_clip(tmp_path: Path) -> None:
    extremes = np.array([[-32768, -1, 0, 1, 32767]], np.int16)
    audio.write_wav(tmp_path / "a.wav", extremes, RATE, bits=16)
    np.testing.assert_array_equal(audio.load(tmp_path / "a.wav"), extremes)
    audio.write_wav(tmp_path / "b.wav", np.array([2.0, -2.0]), RATE, bits=16)
    np.testing.assert_array_equal(audio.load(tmp_path / "b.wav"), [[32767, -32768]])


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.wav").mkdir()
    with pytest.raises(UserError, match="can't write"):
        audio.write_wav(tmp_path / "a.wav", noise(1), RATE)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_a_truncated_wav_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(2).T, RATE, subtype="PCM_16")
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(UserError, match=r"a.wav is truncated: .* 1001 samples and 901 are there"):
        audio.info(path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(UserError, match="a.wav is truncated"):
        audio.info(path)


def test_a_truncated_flac_names_the_sample(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(2, 40000).T, RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert audio.load(path, 0, 100).shape == (2, 100)
    with pytest.raises(UserError, match=r"a.flac .*sample \d+.*damaged"):
        audio.load(path, 35000, 100)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"no audio at all, but some text"])
def test_what_is_no_audio_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(UserError, match="isn't readable audio"):
        audio.info(tmp_path / "a.wav")


def test_missing_files_and_ranges_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can't read .*a.wav"):
        audio.info(tmp_path / "a.wav")
    soundfile.write(tmp_path / "a.wav", noise(1).T, RATE)
    with pytest.raises(UserError, match="has 1001 samples, but 1000 to 1002"):
        audio.load(tmp_path / "a.wav", 1000, 2)


def test_a_wav_out_of_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    samples = np.arange(100, dtype="<i2")
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    odd = struct.pack("<4sI", b"LIST", 3) + b"abc\0"
    head = struct.pack("<4sI4s", b"RIFF", 0xFFFFFFFF, b"WAVE") + form + odd
    data = struct.pack("<4sI", b"data", 0xFFFFFFFF) + samples.tobytes()
    (tmp_path / "a.wav").write_bytes(head + data)
    np.testing.assert_array_equal(audio.load(tmp_path / "a.wav"), samples[None])
