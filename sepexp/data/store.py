"""The store: every song once decoded, in the form that random reads like best.

A song is one planar little-endian array (source, channel, time) in a file of its own, int16 or,
where the input has more than 16 bits, float32, and a JSON index beside it. Reading a chunk is then
a copy out of the page cache. FLAC is the form for small disks, about half the size and far slower.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sepexp import audio
from sepexp.data.stems import MIXTURE, StemsTrack
from sepexp.data.storing import VERSION, Job, checksum, ended, rows_of, store_all
from sepexp.data.track import (
    OPEN_FILES,
    Corpus,
    FileTrack,
    Input,
    Track,
    check_range,
    look_at,
    refuse_changed,
    summed,
)
from sepexp.errors import UserError

FORMS = ("auto", "none", "flac")
FLAC_SHARE = 0.6  # of the planar size, an estimate for music
AGAIN = "run `python -m sepexp data prepare` with the same settings"


class Store:
    """Keeps a corpus' songs decoded in a folder.

    Args:
        form: "auto" stores planar arrays, except that wav files are read where they lie when the
            disk is too small; "flac" stores compressed; "none" stores nothing and reads the files.
        folder: Where; None takes the cache folder.
        processes: That decode at once; None takes one a core, 8 at most.

    Raises:
        UserError: There is no such form.
    """

    def __init__(self, *, form: str, folder: str | None, processes: int | None) -> None:
        if form not in FORMS:
            raise UserError(f"data.store is {form}: expected one of {', '.join(FORMS)}")
        self.form, self.processes = form, processes
        self.folder = Path(folder).expanduser() if folder else cache_folder() / "store"

    def prepare(self, corpus: Corpus) -> None:
        """Store what isn't stored yet, in one process group at a time; can be stopped and rerun.

        Raises:
            UserError: The disk is too small, an input is damaged, or the folder can't be used.
        """
        tracks = [*corpus.train, *corpus.valid, *corpus.test]
        if self.form == "none":
            _refuse_stems(tracks)
            return
        if not self._missing(tracks):
            return
        with locked(self.folder / "store.lock", f"preparing the store in {self.folder}"):
            jobs = [Job(track, self._base(track), self.form) for track in self._missing(tracks)]
            if not jobs or not self._fits(jobs):
                return
            self._clear()  # what a killed run left
            try:
                with _disk_errors(self.folder):
                    store_all(jobs, self.processes)
            finally:
                self._clear()

    def open(self, corpus: Corpus) -> Corpus:
        """The same songs, read from the store.

        Raises:
            UserError: A song isn't in the store, or its entry is damaged or of another version.
        """
        if self.form == "none":
            _refuse_stems([*corpus.train, *corpus.valid, *corpus.test])
            return corpus
        train, valid, test = (
            [self._stored(track) for track in tracks]
            for tracks in (corpus.train, corpus.valid, corpus.test)
        )
        return corpus._replace(train=train, valid=valid, test=test)

    def check(self, corpus: Corpus) -> None:
        """Read every stored sample and compare checksums.

        Raises:
            UserError: An entry is damaged; it is removed, so that preparing makes it anew.
        """
        for track in [*corpus.train, *corpus.valid, *corpus.test]:
            stored = self._stored(track)
            if not isinstance(stored, StoredTrack):
                continue
            damaged = [row for row in stored.rows if not _is_sound(stored, row)]
            if damaged:
                Path(stored.index.path).unlink(missing_ok=True)
                raise UserError(
                    f"{damaged[0]} of {track.name} is damaged in the store, the entry was removed: "
                    f"{AGAIN}"
                )

    def _clear(self) -> None:
        for path in self.folder.glob("*.part"):
            path.unlink()

    def _missing(self, tracks: Sequence[Track]) -> list[Track]:
        return [track for track in tracks if _entry(track, self._base(track)) is None]

    def _stored(self, track: Track) -> Track:
        found = _entry(track, self._base(track))
        if found is not None:
            return found
        if self.form == "auto" and _lies_mappable(track):
            return track
        raise UserError(f"{track.name} isn't in the store {self.folder} or has changed: {AGAIN}")

    def _base(self, track: Track) -> Path:
        """Where a song's files begin: readable, and different for every set of inputs and form."""
        key = json.dumps([self.form, [os.path.abspath(file.path) for file in track.inputs]])
        digest = hashlib.sha256(key.encode()).hexdigest()[:12]
        return self.folder / f"{re.sub(r'[^A-Za-z0-9]+', '_', track.name)[:60]}-{digest}"

    def _fits(self, jobs: list[Job]) -> bool:
        """Say what the disk must hold; False where wav files will be read in place instead."""
        need = sum(_bytes(job) for job in jobs)
        free = shutil.disk_usage(self.folder).free
        about = f"{len(jobs)} songs need {_size(need)}, {_size(free)} are free in {self.folder}"
        if need <= free:
            print(f"storing: {about}", file=sys.stderr)
            return True
        if self.form == "auto" and all(_lies_mappable(job.track) for job in jobs):
            print(f"not storing, the wav files are read in place: {about}", file=sys.stderr)
            return False
        smaller = "set data.store=flac (slower), " if self.form == "auto" else ""
        raise UserError(
            f"the disk is too small for the store: {about}; {smaller}"
            "make room, or set data.store_dir to a larger disk"
        )


@dataclass(frozen=True, kw_only=True)
class StoredTrack:
    """A song in the store; `origin` reads the shipped mixture where the store has none."""

    name: str
    rate: int
    frames: int
    channels: int
    sources: tuple[str, ...]
    dtype: type[np.int16] | type[np.float32]
    fingerprint: str
    index: Input
    files: tuple[Input, ...]  # one planar file, or one FLAC file a row
    rows: tuple[str, ...]  # the sources, and the mixture where it is stored
    origin: Track

    @property
    def inputs(self) -> tuple[Input, ...]:
        return self.origin.inputs

    def read(self, source: str, start: int, frames: int) -> np.ndarray:
        check_range(self, start, frames)
        row = self.rows.index(source)
        if len(self.files) == 1 and self.files[0].path.endswith(".pcm"):
            shape = (len(self.rows), self.channels, self.frames)
            return _planar(self.files[0], shape, np.dtype(self.dtype))[
                row, :, start : start + frames
            ]
        bits = 16 if self.dtype == np.int16 else 24
        found = audio.Info(self.frames, self.rate, self.channels, bits, False, None)
        return audio.decode(self.files[row].path, found, start, frames)

    def read_mixture(self, start: int, frames: int) -> np.ndarray:
        if MIXTURE in self.rows:
            return audio.as_float(self.read(MIXTURE, start, frames))
        if isinstance(self.origin, FileTrack) and self.origin.mixture is not None:
            return self.origin.read_mixture(start, frames)
        return summed(self, start, frames)

    def levels(self) -> Mapping[str, np.ndarray]:
        found = _index(self.index)
        return {source: np.array(found["rms"][source]) for source in self.sources}


def cache_folder() -> Path:
    """$SEPEXP_CACHE, or else `sepexp` under $XDG_CACHE_HOME or ~/.cache."""
    if own := os.environ.get("SEPEXP_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "sepexp"


@contextmanager
def locked(path: Path, doing: str) -> Iterator[None]:
    """Let one process at a time do something; others say whom they wait for.

    The lock goes with its process however that ends; the file stays and holds the last one's id.

    Raises:
        UserError: The folder can't be made or written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        raise UserError(
            f"can't write to {path.parent}: {error.strerror}; set data.store_dir or SEPEXP_CACHE "
            "to a folder that you may write to"
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            print(f"{doing}: waiting for process {file.read().strip()}", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _entry(track: Track, base: Path) -> StoredTrack | None:
    """The stored form of a song, None where it isn't there, has changed or is of an older version.

    Raises:
        UserError: A newer version wrote it.
    """
    path = ended(base, ".json")
    if not path.is_file():
        return None
    file = look_at(path)
    try:
        index = _index(file)
        if index["version"] > VERSION:
            raise UserError(
                f"{path} was written by a newer sepexp (store version {index['version']}, this one "
                f"reads {VERSION}): update, or set data.store_dir to another folder"
            )
        if index["version"] < VERSION:
            return None
        if index["inputs"] != [list(part) for part in track.inputs]:
            return None
        if any(not (base.parent / name).is_file() for name, _ in index["files"]):
            return None
        # by size only: a store may be copied, which changes times
        files = tuple(look_at(base.parent / name) for name, _ in index["files"])
        if [part.size for part in files] != [size for _, size in index["files"]]:
            return None
        return StoredTrack(
            name=track.name,
            rate=index["rate"],
            frames=index["frames"],
            channels=index["channels"],
            sources=tuple(index["sources"]),
            dtype=np.int16 if index["dtype"] == "int16" else np.float32,
            fingerprint=index["fingerprint"],
            index=file,
            files=files,
            rows=tuple(index["rows"]),
            origin=track,
        )
    except (ValueError, KeyError, TypeError, OSError):  # not an index: made anew
        return None


def _is_sound(track: StoredTrack, row: str) -> bool:
    try:
        return checksum(track, row) == _index(track.index)["crc"][row]
    except UserError:  # FLAC that can't be decoded
        return False


@lru_cache(maxsize=1024)
def _index(file: Input) -> dict[str, Any]:
    return json.loads(Path(file.path).read_text())


@lru_cache(maxsize=OPEN_FILES)
def _planar(file: Input, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    refuse_changed(file)
    kind = dtype.newbyteorder("<")
    return np.asarray(np.memmap(file.path, dtype=kind, mode="r", shape=shape))


def _lies_mappable(track: Track) -> bool:
    return isinstance(track, FileTrack) and all(
        stem.info.offset is not None for stem in track.stems.values()
    )


def _refuse_stems(tracks: Sequence[Track]) -> None:
    if any(isinstance(track, StemsTrack) for track in tracks):
        raise UserError(
            "data.store=none reads files in place, which .stem.mp4 files are too slow for: "
            "set data.store=auto, or flac where the disk is small"
        )


def _bytes(job: Job) -> int:
    track = job.track
    planar = len(rows_of(track)) * track.channels * track.frames * np.dtype(track.dtype).itemsize
    return round(planar * FLAC_SHARE) if job.form == "flac" else planar


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "make room" if full else "check the disk and its rights"
        raise UserError(
            f"can't write the store in {folder}: {error.strerror or error}; {advice} and start "
            "again, or set data.store_dir to another folder (finished songs are kept)"
        ) from error
