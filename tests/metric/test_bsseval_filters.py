"""The block Levinson recursion, its certificate, and what happens when it fails."""

from __future__ import annotations

import numpy as np
import pytest

from sepexp.metric import bsseval_filters
from sepexp.metric.bsseval_correlations import correlations
from sepexp.metric.bsseval_filters import (
    RIDGE,
    Inverse,
    block_levinson,
    distortion_filters,
    solve_block_toeplitz,
)

TAPS = 24


def lags(references: np.ndarray, estimates: np.ndarray) -> np.ndarray:
    return correlations(references, estimates, TAPS, 1)


def dense(gram: np.ndarray) -> np.ndarray:
    taps, size, _ = gram.shape
    rows = [
        np.hstack([gram[i - j] if i >= j else gram[j - i].T for j in range(taps)])
        for i in range(taps)
    ]
    return np.vstack(rows)


@pytest.fixture
def signals() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    references = rng.standard_normal((2, 2, 2000))
    return references, references[::-1] + rng.standard_normal((2, 2, 2000))


def test_recursion_equals_a_dense_solve(signals: tuple) -> None:
    table = lags(*signals)
    gram, right = table[None, ..., :4], table[None, ..., 4:]
    ours = Inverse(*block_levinson(gram, RIDGE))(right)[0].reshape(TAPS * 4, 4)
    theirs = np.linalg.solve(dense(gram[0]), right[0].reshape(TAPS * 4, 4))
    np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_predictors_do_what_they_promise(signals: tuple) -> None:
    gram = lags(*signals)[None, ..., :4]
    forward, backward, forward_inverse, backward_inverse = block_levinson(gram, 0.0)
    matrix = dense(gram[0])
    ahead, behind = (matrix @ x[0].reshape(TAPS * 4, 4) for x in (forward, backward))
    np.testing.assert_allclose(ahead[:4], np.linalg.inv(forward_inverse[0]), rtol=1e-9)
    np.testing.assert_allclose(behind[-4:], np.linalg.inv(backward_inverse[0]), rtol=1e-9)
    # energies are about 2000
    np.testing.assert_allclose(ahead[4:], 0, atol=1e-9)
    np.testing.assert_allclose(behind[:-4], 0, atol=1e-9)


def test_one_refinement_repairs_a_rough_inverse(
    signals: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = lags(*signals)
    expected = distortion_filters(table, 2)

    class Rough(Inverse):
        def __call__(self, right: np.ndarray) -> np.ndarray:
            return super().__call__(right) * (1 + 1e-7)

    monkeypatch.setattr(bsseval_filters, "Inverse", Rough)
    ours = distortion_filters(table, 2)
    assert ours.certified
    np.testing.assert_allclose(ours.every, expected.every, atol=1e-12)


def test_batch_equals_its_items(signals: tuple) -> None:
    table = lags(*signals)
    gram = np.stack([table[:, :2, :2], table[:, 2:, 2:4]])
    right = np.stack([table[:, :2, 4:6], table[:, 2:, 6:]])
    together = solve_block_toeplitz(gram, right, RIDGE)[0]
    for item in range(2):
        alone = solve_block_toeplitz(gram[item : item + 1], right[item : item + 1], RIDGE)[0]
        np.testing.assert_allclose(together[item], alone[0], atol=1e-14)


def test_known_filters_are_found() -> None:
    rng = np.random.default_rng(0)
    references = np.zeros((2, 1, 3000))
    references[..., :2900] = rng.standard_normal((2, 1, 2900))
    taps = rng.standard_normal((2, TAPS))
    mixed = sum(np.convolve(r[0], h)[:3000] for r, h in zip(references, taps, strict=True))
    filters = distortion_filters(lags(references, np.stack([mixed[None]] * 2)), 2)
    assert filters.certified
    np.testing.assert_allclose(filters.every[:, :, 0].T, taps, atol=1e-11)
    assert filters.own.shape == (TAPS, 2, 1, 1)


@pytest.mark.parametrize("case", ["silent channel", "repeated channel", "scaled channel"])
def test_repeated_channels_need_no_dense_matrix(
    case: str, signals: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    references, estimates = signals
    factor = {"silent channel": 0.0, "repeated channel": 1.0, "scaled channel": 0.5}[case]
    references[0, 1] = factor * references[0, 0]

    def refuse(*_: object) -> None:
        raise AssertionError("dense solve")

    monkeypatch.setattr(bsseval_filters, "_dense_solve", refuse)
    assert distortion_filters(lags(references, estimates), 2).certified


def test_uncertified_systems_go_to_the_dense_solve(
    signals: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = lags(*signals)
    expected = distortion_filters(table, 2)

    class Diverged(Inverse):
        def __call__(self, right: np.ndarray) -> np.ndarray:
            return np.full_like(right, 1e30)

    monkeypatch.setattr(bsseval_filters, "Inverse", Diverged)
    ours = distortion_filters(table, 2)
    assert not ours.certified
    np.testing.assert_allclose(ours.every, expected.every, atol=1e-12)
    np.testing.assert_allclose(ours.own, expected.own, atol=1e-12)


def test_exactly_singular_systems_get_least_squares() -> None:
    gram = np.zeros((1, 3, 2, 2))
    gram[0, 0] = [[1.0, 1.0], [1.0, 1.0]]
    right = np.zeros((1, 3, 2, 1))
    right[0, :, :, 0] = [[2.0, 0.0], [0.0, 0.0], [0.0, 0.0]]  # not in the range of the matrix
    solution, certified = solve_block_toeplitz(gram, right, 0.0)
    assert not certified
    np.testing.assert_allclose(solution[0, 0, :, 0], [0.5, 0.5], atol=1e-12)


def test_nan_stays_where_it_is(signals: tuple) -> None:
    table = lags(*signals)
    clean = distortion_filters(table, 2)
    table[:, :, 4] = np.nan  # a channel of the first estimate
    filters = distortion_filters(table, 2)
    assert np.isnan(filters.every[..., 0]).all()
    np.testing.assert_allclose(filters.every[..., 1:], clean.every[..., 1:], atol=1e-14)
    np.testing.assert_allclose(filters.own[:, 1], clean.own[:, 1], atol=1e-14)
