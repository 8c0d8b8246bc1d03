"""Small music with known stems, and the scores that rows get on it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

RATE = 22050


def _tone(pitch: np.ndarray, partials: int, decay: float) -> np.ndarray:
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    return sum(np.sin(k * phase) / k**decay for k in range(1, partials + 1))


def _panned(mono: np.ndarray, left: float, delay: int) -> np.ndarray:
    right = (1 - left**2) ** 0.5
    return np.stack([left * mono, right * np.roll(mono, delay)])


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small transforms gain nothing from threads, and lose much on a machine that is shared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def song() -> Tensor:
    """Four seconds of four panned stems: voice with vibrato, drums, bass, chords.

    Shape: (1, 4, 2, samples).
    """
    generator = np.random.default_rng(3)
    samples = 4 * RATE
    time = np.arange(samples) / RATE
    beat = (time * 2) % 1
    notes = np.array([220.0, 247.0, 262.0, 294.0, 330.0, 294.0])
    melody = notes[(time * 1.5).astype(int) % 6] * (1 + 0.01 * np.sin(2 * np.pi * 5.5 * time))
    voice = _tone(melody, 12, 1.0) * np.abs(np.sin(2 * np.pi * 0.75 * time))
    drums = generator.normal(size=samples) * np.exp(-12 * beat) * 1.5
    bass = _tone(np.array([55.0, 73.4, 49.0])[(time / 2).astype(int) % 3] + 0 * time, 5, 1.5)
    chord = sum(_tone(f + 0 * time, 6, 1.2) for f in (165.0, 196.0, 247.0)) / 2
    stems = [
        _panned(voice, 0.75, 0),
        _panned(drums, 0.5, 3),
        _panned(bass, 0.7, 0),
        _panned(chord, 0.95, 7),
    ]
    return torch.from_numpy(0.1 * np.stack(stems)).float()[None]
