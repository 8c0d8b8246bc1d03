"""Writers of small songs in every form that the corpora open."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile

RATE = 8000  # an AAC rate, small enough for quick tests
SOURCES = ("vocals", "drums", "bass", "other")


def noise(seed: int, frames: int, channels: int = 2) -> np.ndarray:
    """int16 noise, (channels, frames)."""
    draw = np.random.default_rng(seed).normal(0, 2000, (channels, frames))
    return draw.astype(np.int16)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of this test's own."""
    monkeypatch.setenv("SEPEXP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def write_song() -> Callable[..., dict[str, np.ndarray]]:
    """Write a folder of stems and, if wished, their mixture; returns the stems."""

    def write(
        folder: Path,
        *,
        sources: tuple[str, ...] = SOURCES,
        frames: int = RATE,
        rate: int = RATE,
        ending: str = "wav",
        subtype: str = "PCM_16",
        mixture: bool = True,
    ) -> dict[str, np.ndarray]:
        folder.mkdir(parents=True, exist_ok=True)
        seed = sum(folder.name.encode())
        stems = {source: noise(seed + at, frames) for at, source in enumerate(sources)}
        files = dict(stems)
        if mixture:
            files["mixture"] = np.sum(list(stems.values()), axis=0, dtype=np.int16)
        for name, array in files.items():
            soundfile.write(folder / f"{name}.{ending}", array.T, rate, subtype=subtype)
        return stems

    return write


@pytest.fixture
def write_stems() -> Callable[..., np.ndarray]:
    """Write a `.stem.mp4` with AAC streams of tones; returns them, (streams, 2, frames) float32."""
    av = pytest.importorskip("av")

    def write(
        path: Path, *, streams: int = 5, frames: int = 3 * RATE + 100, rate: int = RATE
    ) -> np.ndarray:
        path.parent.mkdir(parents=True, exist_ok=True)
        time = np.arange(frames) / rate
        pitches = 200.0 * np.arange(1, streams + 1)[:, None, None] * np.array([1.0, 1.5])[:, None]
        arrays = (0.2 * np.sin(2 * np.pi * pitches * time)).astype(np.float32)
        with av.open(str(path), "w", format="mp4") as container:
            sinks = [container.add_stream("aac", rate=rate, layout="stereo") for _ in arrays]
            for sink, array in zip(sinks, arrays, strict=True):
                for start in range(0, frames, 1024):
                    block = np.ascontiguousarray(array[:, start : start + 1024])
                    frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
                    frame.sample_rate, frame.pts = rate, start
                    frame.time_base = Fraction(1, rate)
                    container.mux(sink.encode(frame))
                container.mux(sink.encode(None))
        return arrays

    return write
