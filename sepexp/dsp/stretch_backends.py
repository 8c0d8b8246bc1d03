"""Tempo and pitch by programs and packages that the user installs (numpy only until one is used).

Each stands where `stretch.change` does and gives exactly as many samples. They differ in what they
make of a signal's beginning and in where inside a stretched piece its time is right, so a mirrored
lead is played before the signal and cut off again, together with the delay that was measured.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from sepexp.errors import UserError

LEAD = 0.1  # seconds mirrored before the signal
TAIL = 0.25  # seconds read beyond what the tempo asks for: the programs' pieces, delays and filters
PEAK = 0.25  # of full scale, at most, is what they get: none of them may clip
INTEGERS, FLOATS = 1, 3  # codes of a wav file's samples
FULL = 2.0**31  # of 32-bit integers


class Stretcher(ABC):
    """What all have in common: a lead before the audio, headroom above it, an exact length.

    `delay`: seconds that a piece is late by, times how much faster than 1 the stretch runs.
    """

    sample_rate: int
    delay: float

    @abstractmethod
    def _play(self, audio: np.ndarray, tempo: float, semitones: float) -> np.ndarray:
        """The program's own answer, of about the right length."""

    def frames_needed(self, frames: int, tempo: float, semitones: float) -> int:
        """How many input samples `change` reads for `frames` output samples."""
        if frames <= 0 or (tempo == 1 and semitones == 0):
            return max(frames, 0)
        return ceil(frames * tempo) + round(TAIL * self.sample_rate)

    def change(
        self, audio: np.ndarray, *, tempo: float, semitones: float, frames: int
    ) -> np.ndarray:
        """Shape: (channels, samples) float32 -> (channels, frames) float32, a new array."""
        needed = self.frames_needed(frames, tempo, semitones)
        if audio.shape[-1] < needed:
            raise UserError(
                f"{audio.shape[-1]} samples came where {frames} samples at tempo {tempo} need "
                f"{needed}: read more input."
            )
        audio = np.asarray(audio[:, :needed], np.float32)
        peak = float(np.abs(audio).max(initial=0))
        if peak == 0 or needed == frames:
            return np.array(audio[:, :frames], order="C")
        scale = np.float32(2.0 ** (np.floor(np.log2(PEAK / peak))))  # exact, so it leaves no trace
        lead = round(LEAD * self.sample_rate)
        led = np.concatenate([audio[:, lead:0:-1], audio], axis=1)
        played = self._play(led * scale, tempo, semitones)
        speed = tempo / 2 ** (semitones / 12)  # of the stretch, before resampling sets the pitch
        first = round(lead / tempo + self.delay * self.sample_rate * (speed - 1))
        if played.shape[-1] < first + frames:
            raise UserError(
                f"{type(self).__name__} gave {played.shape[-1]} samples at tempo {tempo} and "
                f"{semitones} semitones where {first + frames} were expected: use another version "
                "of it, or set augmentation.stretch=null for our own stretch"
            )
        return np.ascontiguousarray(played[:, first : first + frames] / scale, np.float32)


class SoundStretch(Stretcher):
    """The `soundstretch` program of the SoundTouch library (surina.net/soundtouch), by pipes.

    Args:
        sample_rate: In Hz, of what it will get.
        program: Its name, or where it lies.

    Raises:
        UserError: There is no such program.
    """

    # Its pieces are some 86 ms long and run at their own speed: their middles should be on time.
    delay = 0.043

    def __init__(self, *, sample_rate: int, program: str = "soundstretch") -> None:
        self.sample_rate = sample_rate
        self.program = _found(program, "soundstretch")

    def _play(self, audio: np.ndarray, tempo: float, semitones: float) -> np.ndarray:
        options = [f"-tempo={(tempo - 1) * 100:.6f}", f"-pitch={semitones:.6f}"]
        data = _wav(audio, self.sample_rate, INTEGERS)
        return _unpacked(_ran([self.program, "stdin", "stdout", *options], data), len(audio))


class RubberBand(Stretcher):
    """The `rubberband` program of the Rubber Band library (breakfastquay.com), by files.

    Args:
        sample_rate: In Hz, of what it will get.
        program: Its name, or where it lies; `rubberband-r3` is finer and slower.
        options: Further ones for its command line.

    Raises:
        UserError: There is no such program.
    """

    delay = 0.023

    def __init__(
        self, *, sample_rate: int, program: str = "rubberband", options: Sequence[str] = ()
    ) -> None:
        self.sample_rate, self.options = sample_rate, tuple(options)
        self.program = _found(program, "rubberband-cli")

    def _play(self, audio: np.ndarray, tempo: float, semitones: float) -> np.ndarray:
        with tempfile.TemporaryDirectory(prefix="sepexp-stretch-") as folder:
            # it reads its input twice, which a pipe doesn't let it
            before, after = Path(folder) / "in.wav", Path(folder) / "out.wav"
            before.write_bytes(_wav(audio, self.sample_rate, FLOATS))
            numbers = ["--tempo", f"{tempo:.9f}", "--pitch", f"{semitones:.6f}"]
            files = [str(before), str(after)]
            _ran([self.program, "-q", "--no-threads", *numbers, *self.options, *files], b"")
            return _unpacked(after.read_bytes() if after.exists() else b"", len(audio))


class Signalsmith(Stretcher):
    """Signalsmith Stretch (signalsmith-audio.co.uk) by the package `python-stretch`.

    Args:
        sample_rate: In Hz, of what it will get.

    Raises:
        UserError: The package is not there.
    """

    delay = 0.0  # the package cuts its own off

    def __init__(self, *, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        _signalsmith()

    def _play(self, audio: np.ndarray, tempo: float, semitones: float) -> np.ndarray:
        # a new one each time, with its seed: the same input gives the same bits
        stretch = _signalsmith().Stretch(0)
        stretch.preset(len(audio), self.sample_rate)
        stretch.setTransposeSemitones(semitones)
        stretch.setTimeFactor(tempo)
        return np.asarray(stretch.process(np.ascontiguousarray(audio)))


def _signalsmith() -> Any:
    try:
        from python_stretch import Signalsmith as module
    except ImportError as error:
        raise UserError(
            f"augmentation.stretch asks for Signalsmith Stretch, which can't be imported ({error}):"
            " pip install python-stretch, or set augmentation.stretch=null for our own stretch"
        ) from None
    return module


def _found(program: str, package: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise UserError(
            f"augmentation.stretch asks for the program {program}, which is not here: install it "
            f"(on Debian and Ubuntu the package {package}), or set augmentation.stretch=null for "
            "our own stretch"
        )
    return str(Path(path).absolute())


def _ran(command: list[str], data: bytes) -> bytes:
    """What a program writes to its output, given `data`."""
    try:
        done = subprocess.run(command, input=data, capture_output=True, check=False)
    except OSError as error:
        raise UserError(f"{command[0]} can't be started: {error}") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise UserError(
            f"{command[0]} ended with code {done.returncode} ({said[-1] if said else 'silently'}):"
            " try it by hand, or set augmentation.stretch=null for our own stretch"
        )
    return done.stdout


def _wav(audio: np.ndarray, rate: int, code: int) -> bytes:
    """A wav file of 32 bits a sample: int32 for those that read no floats, or float32."""
    samples = audio.T.astype("<f4")
    data = (samples if code == FLOATS else np.rint(samples * FULL).astype("<i4")).tobytes()
    frame = 4 * len(audio)
    layout = struct.pack("<IHHIIHH", 16, code, len(audio), rate, rate * frame, frame, 32)
    size = struct.pack("<I", 4 + 8 + 16 + 8 + len(data))
    return b"RIFF" + size + b"WAVEfmt " + layout + b"data" + struct.pack("<I", len(data)) + data


def _unpacked(file: bytes, channels: int) -> np.ndarray:
    """The samples of such a file, whatever its length fields say: a pipe can't correct them."""
    at, code = 12, 0
    while at + 8 <= len(file):
        name, size = struct.unpack_from("<4sI", file, at)
        at += 8
        if name == b"data":
            break
        if name == b"fmt ":
            code, theirs, *_, bits = struct.unpack_from("<HHIIHH", file, at)
            if code == 0xFFFE:  # the code stands in the extension
                (code,) = struct.unpack_from("<H", file, at + 24)
            if (theirs, bits) != (channels, 32):
                code = 0
        at += size + size % 2
    else:
        code = 0
    if code not in (INTEGERS, FLOATS):
        raise UserError(
            f"a stretching program gave {len(file)} bytes that are no wav file of {channels} "
            "channels and 32 bits: use another version of it, or set augmentation.stretch=null"
        )
    # a file, unlike a pipe, may have something behind its samples
    end = at + size if 0 < size <= len(file) - at else len(file)
    count = (end - at) // (4 * channels) * channels
    samples = np.frombuffer(file, "<f4" if code == FLOATS else "<i4", count, at)
    audio = samples.reshape(-1, channels).T
    return audio if code == FLOATS else audio * np.float64(1 / FULL)
