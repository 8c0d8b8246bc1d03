"""Energies of the projections: against plain convolutions, and both paths against each other."""

from __future__ import annotations

import numpy as np
import pytest

from sepexp.metric import bsseval_frames
from sepexp.metric.bsseval_filters import Filters
from sepexp.metric.bsseval_frames import frame_energies, smooth_length

BOUNDS = [(0, 700), (350, 1050), (900, 1601)]


@pytest.fixture
def scene() -> tuple[np.ndarray, np.ndarray, Filters]:
    rng = np.random.default_rng(0)
    references, estimates = rng.standard_normal((2, 2, 2, 1650))
    own, every = rng.standard_normal((30, 2, 2, 2)), rng.standard_normal((30, 4, 4))
    return references, estimates, Filters(own, every, True)


def plain(references: np.ndarray, estimates: np.ndarray, filters: Filters) -> np.ndarray:
    """Energies (7, sources, frames) by convolving every cut frame in full."""
    tables = []
    for start, stop in BOUNDS:
        truth = references[..., start:stop].reshape(4, -1)
        tail = np.zeros((4, 29))
        s = np.hstack([truth, tail])
        e = np.hstack([estimates[..., start:stop].reshape(4, -1), tail])
        o, a = np.zeros_like(s), np.zeros_like(s)
        for p in range(4):
            for q in range(4):
                a[q] += np.convolve(truth[p], filters.every[:, p, q])
                if p // 2 == q // 2:
                    o[q] += np.convolve(truth[p], filters.own[:, p // 2, p % 2, q % 2])
        parts = [s, e - s, o - s, o, a - o, a, e - a]
        tables.append([(part**2).sum(axis=1).reshape(2, 2).sum(axis=1) for part in parts])
    return np.moveaxis(np.array(tables), 0, -1)


@pytest.mark.parametrize("path", ["parseval", "groups", "pieces"])
@pytest.mark.parametrize("threads", [1, 2])
def test_equals_plain_convolutions(
    path: str, threads: int, scene: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    if path == "groups":
        monkeypatch.setattr(bsseval_frames, "TOGETHER", 1)
    elif path == "pieces":
        monkeypatch.setattr(bsseval_frames, "LONGEST_TRANSFORM", 100)
        monkeypatch.setattr(bsseval_frames, "PIECE", 256)
    references, estimates, filters = scene
    ours = frame_energies(references, estimates, BOUNDS, filters, threads)
    np.testing.assert_allclose(np.array(ours), plain(*scene), rtol=1e-12)


def test_identical_estimates_have_no_error_at_all(scene: tuple) -> None:
    references, _, filters = scene
    assert not frame_energies(references, references, BOUNDS, filters, 1).error.any()


@pytest.mark.parametrize(("samples", "expected"), [(1, 2), (7, 8), (44_611, 45_000), (5120, 5120)])
def test_smooth_length(samples: int, expected: int) -> None:
    assert smooth_length(samples) == expected
