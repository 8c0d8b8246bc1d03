"""Songs without files: what a sample is follows from its song, source, channel and place.

They live in a module of their own, because loader workers import what they unpickle by its name.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sepexp.data.track import Corpus
from sepexp.errors import UserError

SOURCES = ("vocals", "drums", "bass", "other")


@dataclass(frozen=True, kw_only=True)
class FakeSong:
    """int16 or float32 noise that repeats nowhere nearby; `fault` goes wrong when it is read."""

    name: str
    number: int
    frames: int = 4000
    rate: int = 1000
    channels: int = 2
    sources: tuple[str, ...] = SOURCES
    dtype: Any = np.int16
    levels_of: Mapping[str, list[float]] | None = field(default=None, hash=False)
    fault: str = ""

    @property
    def fingerprint(self) -> str:
        return f"print of {self.name}"

    def read(self, source: str, start: int, frames: int) -> np.ndarray:
        assert start >= 0 and start + frames <= self.frames
        if self.fault == "damaged":
            raise UserError(f"{self.name}/{source}.wav ends early")
        if self.fault == "bug":
            raise RuntimeError("a slip of ours")
        if self.fault == "killed" and os.environ.get("SEPEXP_WORKER"):
            os.kill(os.getpid(), signal.SIGKILL)
        place = np.arange(start, start + frames, dtype=np.int64)
        kind = 1 + SOURCES.index(source) if source in SOURCES else 9
        rows = [
            (place * 7919 + (self.number * 10 + kind) * 104729 + channel * 1299709) % 60013 - 30006
            for channel in range(self.channels)
        ]
        array = np.array(rows, dtype=np.int16)
        return array if self.dtype == np.int16 else array.astype(np.float32) / 32768

    def read_mixture(self, start: int, frames: int) -> np.ndarray:
        stems = [self.read(s, start, frames).astype(np.float32) for s in self.sources]
        return np.sum(stems, axis=0) / np.float32(32768 if self.dtype == np.int16 else 1)

    def levels(self) -> Mapping[str, np.ndarray] | None:
        return self.levels_of and {s: np.array(v) for s, v in self.levels_of.items()}


def songs(count: int, **changes: Any) -> list[FakeSong]:
    return [FakeSong(name=f"song {n}", number=n, **changes) for n in range(count)]


class FakeCorpus:
    """A corpus over given songs."""

    def __init__(self, train: list, valid: list, test: list) -> None:
        self.parts = Corpus(train, valid, test, "")

    def prepare(self) -> None:
        pass

    def open(self) -> Corpus:
        return self.parts
