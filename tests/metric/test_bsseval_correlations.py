"""Correlations by blocks equal the sums they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from sepexp.metric.bsseval_correlations import correlations, in_threads, load


@pytest.mark.parametrize("samples", [3, 500, 4096, 9001])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_equals_the_direct_sum(samples: int, threads: int) -> None:
    rng = np.random.default_rng(samples)
    references, estimates = rng.standard_normal((2, 2, 2, samples))
    taps = 40
    ours = correlations(references, estimates, taps, threads)
    left = references.reshape(4, -1)
    right = np.concatenate([left, estimates.reshape(4, -1)])
    padded = np.pad(right, ((0, 0), (0, taps)))
    direct = [left @ padded[:, lag : lag + samples].T for lag in range(taps)]
    # float64 rounding of sums of 9000 products
    np.testing.assert_allclose(ours, direct, atol=1e-10)


def test_many_groups_of_blocks() -> None:
    rng = np.random.default_rng(0)
    references = rng.integers(-100, 100, (1, 1, 150_000), dtype=np.int16)
    ours = correlations(references, references, 512, 2)
    energy = float((references.astype(np.int64) ** 2).sum())
    assert ours[0, 0, 0] == pytest.approx(energy, rel=1e-13)
    np.testing.assert_array_equal(ours[..., 0], ours[..., 1])


def test_load_pads_and_converts() -> None:
    signals = np.arange(6, dtype=np.int16).reshape(1, 2, 3)
    out = np.full((2, 4), 9.0)
    load(signals, 1, out)
    np.testing.assert_array_equal(out, [[1, 2, 0, 0], [4, 5, 0, 0]])
    load(signals, 7, out)
    assert not out.any()


def test_threads_keep_the_order_and_hand_on_errors() -> None:
    assert in_threads(lambda x: x * x, range(20), 2) == [x * x for x in range(20)]
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda x: 1 // x, [1, 0], 2)
