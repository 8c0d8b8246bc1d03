"""Writing songs into the store: one decoder pass each, several at once, whole or not at all."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from sepexp.data import stems
from sepexp.data.cores import cores
from sepexp.data.track import Input, Track, fingerprint, look_at, refuse_changed
from sepexp.errors import UserError

VERSION = 1
BLOCK_SECONDS = 0.5  # of the level tables
BLOCKS = 40  # of them read at once
MOST = 8  # processes; each holds a decoded song, up to half a GB


class Job(NamedTuple):
    """A song to be stored as `base` with other endings; every form but "flac" is planar."""

    track: Track
    base: Path
    form: str


class Measured(NamedTuple):
    """What is learned about a stem while it passes by."""

    rms: list[float]  # a block each, 1 = full scale
    clipped: int  # samples at or over full scale
    crc: int


def store_song(job: Job) -> None:
    """Decode, measure and write one song; its index comes last and makes it valid.

    Raises:
        UserError: The input is damaged or changed meanwhile, or doesn't fit into FLAC.
        OSError: The disk is full or broken.
    """
    track = job.track
    index = ended(job.base, ".json")
    index.unlink(missing_ok=True)
    if isinstance(track, stems.StemsTrack):
        track = track.decoded()
    rows = rows_of(track)
    write = _write_flac if job.form == "flac" else _write_planar
    files, measured = write(track, rows, job.base)
    for source in track.inputs:
        refuse_changed(source)
    content = {
        "version": VERSION,
        "name": track.name,
        "dtype": np.dtype(track.dtype).name,
        "frames": track.frames,
        "rate": track.rate,
        "channels": track.channels,
        "sources": track.sources,
        "rows": rows,
        "files": [(Path(file.path).name, file.size) for file in files],
        "inputs": track.inputs,
        "fingerprint": fingerprint(track),
        "block_seconds": BLOCK_SECONDS,
        "rms": {row: part.rms for row, part in measured.items()},
        "clipped": {row: part.clipped for row, part in measured.items()},
        "crc": {row: part.crc for row, part in measured.items()},
    }
    with _aside(index) as file:
        file.write(json.dumps(content).encode())
    stems.forget()


def rows_of(track: Track) -> tuple[str, ...]:
    """A `.stem.mp4`'s mixture is stored too; other mixtures stay in files of their own."""
    mixture = (stems.MIXTURE,) if isinstance(track, stems.StemsTrack) else ()
    return (*track.sources, *mixture)


def ended(base: Path, ending: str) -> Path:
    return base.with_name(base.name + ending)


def checksum(track: Track, source: str) -> int:
    """What `Measured.crc` is for a track that reads rightly."""
    crc = 0
    for _, block in _blocks(track, source):
        crc = zlib.crc32(np.ascontiguousarray(block).data, crc)
    return crc


def _write_planar(
    track: Track, rows: Sequence[str], base: Path
) -> tuple[list[Input], dict[str, Measured]]:
    kind = np.dtype(track.dtype).newbyteorder("<")
    line = track.frames * kind.itemsize  # bytes of one channel
    measured = {}
    path = ended(base, ".pcm")
    with _aside(path) as file:
        # a disk that is too full says so here, before the work
        os.posix_fallocate(file.fileno(), 0, len(rows) * track.channels * line)
        for number, row in enumerate(rows):
            meter = _Meter(track.rate)
            for start, block in _blocks(track, row):
                meter.add(block)
                for channel, values in enumerate(block.astype(kind, order="C")):
                    file.seek((number * track.channels + channel) * line + start * kind.itemsize)
                    file.write(values.data)
            measured[row] = meter.result()
    return [look_at(path)], measured


def _write_flac(
    track: Track, rows: Sequence[str], base: Path
) -> tuple[list[Input], dict[str, Measured]]:
    import soundfile

    measured, files = {}, []
    subtype = "PCM_16" if track.dtype == np.int16 else "PCM_24"
    for number, row in enumerate(rows):
        path = ended(base, f".{number}.flac")
        meter = _Meter(track.rate)
        with (
            _aside(path) as file,
            soundfile.SoundFile(
                file, "w", track.rate, track.channels, subtype, format="FLAC"
            ) as sink,
        ):
            for _, block in _blocks(track, row):
                if block.dtype != np.int16:
                    if np.abs(block).max() > 1:
                        raise UserError(
                            f"{row} of {track.name} goes over full scale, which FLAC can't hold: "
                            "use data.store=auto"
                        )
                    # by hand, since libsndfile scales floats by 2^23 - 1 and reads by 2^23
                    steps = np.clip(np.rint(block.astype(np.float64) * 2**23), -(2**23), 2**23 - 1)
                    sink.write((steps.astype(np.int32) << 8).T)
                    block = (steps / 2**23).astype(np.float32)
                else:
                    sink.write(block.T)
                meter.add(block)
        files.append(look_at(path))
        measured[row] = meter.result()
    return files, measured


class _Meter:
    def __init__(self, rate: int) -> None:
        self._hop = hop(rate)
        self._rms: list[float] = []
        self._clipped, self._crc = 0, 0

    def add(self, block: np.ndarray) -> None:
        """Measure (channels, samples), a whole number of hops except at the end."""
        self._crc = zlib.crc32(np.ascontiguousarray(block).data, self._crc)
        values = block.astype(np.float32)
        if block.dtype == np.int16:
            self._clipped += int(((block == 32767) | (block == -32768)).sum())
            values /= 32768
        else:
            self._clipped += int((np.abs(values) >= 1).sum())
        for start in range(0, values.shape[1], self._hop):
            part = values[:, start : start + self._hop]
            self._rms.append(float(np.sqrt(np.mean(part.astype(np.float64) ** 2))))

    def result(self) -> Measured:
        return Measured(self._rms, self._clipped, self._crc)


def hop(rate: int) -> int:
    """Samples in a block of the level tables."""
    return max(1, round(BLOCK_SECONDS * rate))


def _blocks(track: Track, source: str) -> Iterator[tuple[int, np.ndarray]]:
    step = hop(track.rate) * BLOCKS
    for start in range(0, track.frames, step):
        yield start, track.read(source, start, min(step, track.frames - start))


@contextmanager
def _aside(path: Path) -> Iterator[BinaryIO]:
    """A file that appears under its name when all of it is on the disk."""
    aside = ended(path, ".part")
    try:
        with aside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def store_all(jobs: Sequence[Job], processes: int | None) -> None:
    """Store songs in several processes, the longest first, with a line of progress on stderr.

    Raises:
        UserError: As `store_song`, or a process was killed; finished songs are kept.
    """
    jobs = sorted(jobs, key=lambda job: -job.track.frames)
    wanted = processes or min(MOST, cores())
    progress = _Progress([job.track.frames / job.track.rate for job in jobs])
    if min(wanted, len(jobs)) == 1:
        for job in jobs:
            store_song(job)
            progress.done(job.track.frames / job.track.rate)
        return
    strangers = multiprocessing.active_children()
    pool = ProcessPoolExecutor(
        min(wanted, len(jobs)), multiprocessing.get_context("spawn"), initializer=_begin
    )
    try:
        waiting: dict[Future[None], Job] = {pool.submit(store_song, job): job for job in jobs}
        while waiting:
            finished, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in finished:
                future.result()
                job = waiting.pop(future)
                progress.done(job.track.frames / job.track.rate)
    except BrokenProcessPool:
        raise UserError(
            "a process that decodes songs was killed, maybe for memory: start again with fewer "
            "(python -m sepexp data prepare --processes 1); finished songs are kept"
        ) from None
    except (KeyboardInterrupt, SystemExit):  # doesn't wait for songs to end
        for process in multiprocessing.active_children():
            if process not in strangers:
                process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """A worker leaves interrupts to its parent, and dies with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch(join: Callable[[], None]) -> None:
        join()
        os._exit(1)

    threading.Thread(target=watch, args=(parent.join,), daemon=True).start()


class _Progress:
    """`12/150 songs, 8 %, 3 min left`, over itself on a terminal, now and then elsewhere."""

    def __init__(self, seconds: Sequence[float]) -> None:
        self._songs, self._all = len(seconds), sum(seconds)
        self._count, self._seconds = 0, 0.0
        self._began = self._said = time.monotonic()

    def done(self, seconds: float) -> None:
        self._count, self._seconds = self._count + 1, self._seconds + seconds
        now, last = time.monotonic(), self._count == self._songs
        terminal = sys.stderr.isatty()
        if not (terminal or last or now - self._said > 10):
            return
        self._said = now
        left = (now - self._began) * (self._all / self._seconds - 1)
        line = f"stored {self._count}/{self._songs} songs, {self._seconds / self._all:.0%}"
        line += f", {now - self._began:.0f} s" if last else f", {left:.0f} s left"
        end = "\n" if last or not terminal else ""
        print(("\r\033[K" if terminal else "") + line, end=end, file=sys.stderr, flush=True)
