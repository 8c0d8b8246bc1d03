"""Short synthetic stems at 8 kHz, for every test of the scores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.signal import lfilter

Pair = tuple[np.ndarray, np.ndarray]


@pytest.fixture
def stems() -> Callable[..., Pair]:
    """References and estimates (sources, samples, channels): filtered, leaking, noisy."""

    def make(sources: int = 2, channels: int = 1, samples: int = 16_100, seed: int = 0) -> Pair:
        rng = np.random.default_rng(seed)
        noise = rng.standard_normal((sources, channels, samples))
        colours = rng.random(sources) * 0.8
        references = 0.1 * np.stack(
            [lfilter([1, 0.4], [1, -pole], part) for pole, part in zip(colours, noise, strict=True)]
        )
        estimates = references + 0.2 * np.roll(references, 1, axis=0)
        estimates[..., 5:] += 0.3 * references[..., :-5]
        estimates += 0.02 * rng.standard_normal(references.shape)
        return references.transpose(0, 2, 1).copy(), estimates.transpose(0, 2, 1).copy()

    return make


@pytest.fixture
def largest_difference() -> Callable[[object, object], float]:
    """Largest difference in dB of two tables; their NaN must agree.

    Values that are both above 150 dB are rounding noise of a perfect estimate and count as equal.
    """

    def measure(ours: object, theirs: object) -> float:
        left, right = np.array(ours, dtype=float), np.array(theirs, dtype=float)
        assert left.shape == right.shape
        np.testing.assert_array_equal(np.isnan(left), np.isnan(right))
        compared = ~np.isnan(left) & ~((left > 150) & (right > 150)) & (left != right)
        return float(np.abs(left[compared] - right[compared]).max(initial=0.0))

    return measure
