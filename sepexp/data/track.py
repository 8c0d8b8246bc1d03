"""A song that opens lazily: any range of any stem, whatever the files are.

Tracks pickle as paths and numbers and open their files where they are read, so they travel into
spawned workers. Numpy only.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from sepexp import audio
from sepexp.errors import UserError

OPEN_FILES = 256  # maps kept open in a process; each holds a descriptor, of which 1024 is usual
TRIM = 0.1  # seconds by which the files of one song may differ in length
PROBES, PROBE = 8, 2048  # a fingerprint reads so many places of so many samples of each stem


class Input(NamedTuple):
    """A file behind a song, as it was when the corpus was opened."""

    path: str
    size: int  # bytes
    changed: int  # time in ns

    def is_as_it_was(self) -> bool:
        """Whether size and time still agree.

        Raises:
            UserError: The file is gone or unreadable.
        """
        return look_at(self.path) == self


class Track(Protocol):
    """One song.

    `sources` are the stems that this song has, missing ones are absent. `fingerprint` hashes places
    of the decoded audio, so it is the same for wav, FLAC and store. `dtype` is int16 or float32.
    """

    @property
    def name(self) -> str: ...
    @property
    def rate(self) -> int: ...
    @property
    def frames(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def sources(self) -> tuple[str, ...]: ...
    @property
    def dtype(self) -> type[np.int16] | type[np.float32]: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def inputs(self) -> tuple[Input, ...]: ...

    def read(self, source: str, start: int, frames: int) -> np.ndarray:
        """Exactly `frames` samples of a stem in the song's `dtype`, maybe a read-only view.

        Shape:
            returns: (channels, frames).

        Raises:
            UserError: The file is gone, truncated or damaged; names the file and the sample.
        """

    def read_mixture(self, start: int, frames: int) -> np.ndarray:
        """The shipped mixture where there is one, else the sum of the stems, as float32.

        Shape:
            returns: (channels, frames).
        """

    def levels(self) -> Mapping[str, np.ndarray] | None:
        """RMS of each stem in blocks of 0.5 s, 1 = full scale; None where nobody measured."""


class Corpus(NamedTuple):
    """The songs of a data set by split; `note` is what a user should be told about them."""

    train: list[Track]
    valid: list[Track]
    test: list[Track]
    note: str


class Stem(NamedTuple):
    """One audio file of a song, as its header described it when the corpus was opened."""

    file: Input
    info: audio.Info


@dataclass(frozen=True, kw_only=True)
class FileTrack:
    """A song whose stems are wav or FLAC files: wav is memory-mapped, FLAC decoded where read."""

    name: str
    rate: int
    frames: int
    channels: int
    dtype: type[np.int16] | type[np.float32]
    stems: Mapping[str, Stem]
    mixture: Stem | None

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(self.stems)

    @property
    def fingerprint(self) -> str:
        return fingerprint(self)

    @property
    def inputs(self) -> tuple[Input, ...]:
        return tuple(stem.file for stem in self.stems.values())

    def read(self, source: str, start: int, frames: int) -> np.ndarray:
        check_range(self, start, frames)
        array = self._file(self.stems[source], start, frames)
        return array if array.dtype == self.dtype else audio.as_float(array)

    def read_mixture(self, start: int, frames: int) -> np.ndarray:
        check_range(self, start, frames)
        if self.mixture is None:
            return summed(self, start, frames)
        return audio.as_float(self._file(self.mixture, start, frames))

    def levels(self) -> Mapping[str, np.ndarray] | None:
        return None

    def _file(self, stem: Stem, start: int, frames: int) -> np.ndarray:
        if stem.info.offset is None:
            array = audio.decode(stem.file.path, stem.info, start, frames)
        else:
            array = audio.samples(_mapped(stem.file, stem.info)[start : start + frames], stem.info)
        if len(array) == self.channels:
            return array
        return np.broadcast_to(array, (self.channels, frames))  # a mono file of a stereo song


def look_at(path: str | os.PathLike[str]) -> Input:
    """Raises UserError where the file is gone or unreadable."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise UserError(f"can't read {path}: {error.strerror}; is the disk still there?") from None
    return Input(str(path), status.st_size, status.st_mtime_ns)


def check_range(track: Track, start: int, frames: int) -> None:
    if start < 0 or frames < 0 or start + frames > track.frames:
        raise ValueError(
            f"{track.name} has {track.frames} samples: {start} to {start + frames} isn't inside"
        )


def summed(track: Track, start: int, frames: int) -> np.ndarray:
    """The sum of the stems as float32, (channels, frames)."""
    total = np.zeros((track.channels, frames), dtype=np.float32)
    for source in track.sources:
        total += audio.as_float(track.read(source, start, frames))
    return total


def fingerprint(track: Track) -> str:
    """Hash some places of every stem: equal audio gives equal prints in any file format."""
    digest = hashlib.sha256(f"{track.rate} {track.frames} {track.channels}".encode())
    length = min(PROBE, track.frames)
    places = np.linspace(0, track.frames - length, PROBES).astype(int)
    for source in sorted(track.sources):
        digest.update(source.encode())
        for place in places:
            digest.update(np.ascontiguousarray(track.read(source, int(place), length)).tobytes())
    return digest.hexdigest()[:32]


@lru_cache(maxsize=OPEN_FILES)
def _mapped(file: Input, info: audio.Info) -> np.ndarray:
    """Open a wav's map once a process."""
    refuse_changed(file)
    array = audio.mapped(file.path, info)
    assert array is not None
    return array


def refuse_changed(file: Input) -> None:
    """To be called before mapping, since reading past a shortened file's end kills the process.

    Raises:
        UserError: The file is gone or has changed.
    """
    if not file.is_as_it_was():
        raise UserError(
            f"{file.path} has changed since the data set was opened: start the run again"
        )


def from_files(name: str, stems: Mapping[str, Path], mixture: Path | None) -> FileTrack:
    """Make a song of one file a stem; slightly unequal lengths are cut to the shortest.

    Raises:
        UserError: Rates differ, lengths differ by more than `TRIM` seconds, or nothing sounds.
    """
    described = {source: Stem(look_at(path), audio.info(path)) for source, path in stems.items()}
    mixed = Stem(look_at(mixture), audio.info(mixture)) if mixture is not None else None
    files = [*described.values(), *([mixed] if mixed else [])]
    frames = common_length(
        name, {file.file.path: (file.info.frames, file.info.rate) for file in files}
    )
    channels = max(file.info.channels for file in files)
    odd = [file for file in files if file.info.channels not in (1, channels)]
    if odd:
        raise UserError(
            f"{odd[0].file.path} has {odd[0].info.channels} channels, another file of {name} has "
            f"{channels}: expected the same number, or mono"
        )
    kinds = {file.info.dtype for file in described.values()}
    return FileTrack(
        name=name,
        rate=files[0].info.rate,
        frames=frames,
        channels=channels,
        dtype=np.int16 if kinds == {np.int16} else np.float32,
        stems=described,
        mixture=mixed,
    )


def common_length(name: str, files: Mapping[str, tuple[int, int]]) -> int:
    """The number of samples that all files of a song share, from each one's (frames, rate).

    Raises:
        UserError: Rates differ, lengths differ by more than `TRIM` seconds, or a file is empty.
    """
    first, (_, rate) = next(iter(files.items()))
    for path, (_, other) in files.items():
        if other != rate:
            raise UserError(
                f"{path} has {other} Hz but {first} has {rate} Hz: expected one sample rate in "
                f"all files of {name}; resample them"
            )
    short = min(files, key=lambda path: files[path][0])
    long = max(files, key=lambda path: files[path][0])
    shortest, longest = files[short][0], files[long][0]
    if shortest == 0:
        raise UserError(f"{short} has no samples: export it again or remove it")
    if longest - shortest > TRIM * rate:
        raise UserError(
            f"{long} is {(longest - shortest) / rate:.2f} s longer than {short}: expected files "
            f"of one song to agree within {TRIM} s; export {name} again"
        )
    if longest != shortest:
        warnings.warn(
            f"{name}: files differ by {longest - shortest} samples, all cut to {shortest}",
            stacklevel=2,
        )
    return shortest
