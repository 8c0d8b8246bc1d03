"""Step 2 of BSSEval: distortion filters from correlations, without the dense matrix where possible.

The normal equations are block-Toeplitz. The block Levinson recursion (Whittle 1963, Wiggins and
Robinson 1965) finds what generates their inverse in about 3 inputs^3 taps^2 operations; FFTs apply
it to all estimates at once and compute the residual that certifies the answer, and an LU of the
dense matrix stands in where it does not.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import scipy.linalg
from numpy.lib.stride_tricks import sliding_window_view

RIDGE = float(np.finfo(np.float64).eps)  # absolute, as museval adds it
CERTIFIED = 1e-12  # largest relative residual of a column
REFINEMENTS = 6
DEPENDENT = 1e-13  # channels whose normalised correlation is this close to one are multiples


class Filters(NamedTuple):
    """Distortion filters of one stretch.

    Shape:
        own: (taps, sources, channels, channels), from a source's reference to its estimate.
        every: (taps, inputs, inputs), from all references to all estimates.
        certified: every system was solved to a relative residual of 1e-12.
    """

    own: np.ndarray
    every: np.ndarray
    certified: bool


def distortion_filters(correlations: np.ndarray, sources: int, ridge: float = RIDGE) -> Filters:
    """Least-squares filters of each estimate from its own reference and from all of them.

    Estimates with a NaN in them give NaN filters and leave the others alone.

    Shape: correlations (taps, inputs, 2 * inputs) as `bsseval_correlations` makes them.
    """
    taps, inputs, _ = correlations.shape
    channels = inputs // sources
    gram, cross = correlations[..., :inputs], correlations[..., inputs:]
    blocks = [slice(first, first + channels) for first in range(0, inputs, channels)]
    own_gram = np.stack([gram[:, block, block] for block in blocks])
    own_cross = np.stack([cross[:, block, block] for block in blocks])
    # one after the other: steps this small hold the interpreter, a second thread slows them down
    own, own_certified = solve_block_toeplitz(own_gram, own_cross, ridge)
    every, every_certified = solve_block_toeplitz(gram[None], cross[None], ridge)
    return Filters(own.transpose(1, 0, 2, 3), every[0], own_certified and every_certified)


def solve_block_toeplitz(
    gram: np.ndarray, right: np.ndarray, ridge: float
) -> tuple[np.ndarray, bool]:
    """Solve sum_j T_(i-j) X_j + ridge X_i = D_i, where T_-d is T_d transposed.

    Returns the solution and whether its residual was certified.

    Shape: gram (batch, taps, size, size), right (batch, taps, size, columns) -> like right.
    """
    whole = np.isfinite(gram).all(axis=(1, 2, 3), keepdims=True)
    usable = whole & np.isfinite(right).all(axis=(1, 2), keepdims=True)
    clean = np.where(usable, right, 0.0)
    # a broken system becomes the identity, so that the others of the batch go through
    gram = np.where(
        whole, gram, np.eye(gram.shape[-1]) * (np.arange(gram.shape[1]) == 0)[:, None, None]
    )
    solution = _refined(gram, clean, ridge)
    good = _residual(gram, clean, solution, ridge)[1] <= CERTIFIED
    certified = True
    for item in np.flatnonzero(~good):
        solution[item], item_certified = _without_multiples(gram[item], clean[item], ridge)
        certified &= item_certified
    return np.where(usable, solution, np.nan), certified


def _refined(gram: np.ndarray, right: np.ndarray, ridge: float) -> np.ndarray:
    """Solution by the inverse's formula, refined until its residual is certified or stalls."""
    with np.errstate(all="ignore"):
        try:
            inverse = Inverse(*block_levinson(gram, ridge))
        except np.linalg.LinAlgError:
            return np.full_like(right, np.nan)
        solution = inverse(right)
        last = np.inf
        for _ in range(REFINEMENTS):
            rest, relative = _residual(gram, right, solution, ridge)
            worst = relative.max()
            # a residual that no longer shrinks has diverged or has met the rounding
            if worst <= CERTIFIED or not worst < last / 2:
                break
            solution, last = solution + inverse(rest), worst
    return solution


def block_levinson(
    gram: np.ndarray, ridge: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Forward and backward predictors of all lags and the inverses of their errors.

    The forward predictor A begins with I and T A = (E, 0, ..., 0); the backward one B ends with I
    and T B = (0, ..., 0, F). Returns A, B, inverse of E, inverse of F.

    Shape: gram (batch, taps, size, size) -> predictors like gram, inverses (batch, size, size).

    Raises:
        numpy.linalg.LinAlgError: a prediction error became exactly singular.
    """
    batch, taps, size, _ = gram.shape
    length = taps * size
    forward_error = backward_error = gram[:, 0] + ridge * np.eye(size)
    forward_inverse = backward_inverse = np.linalg.inv(forward_error)
    # T_(taps-1)^T ... T_1^T in one column: its end is what each step needs; everything is kept
    # transposed, for BLAS is quicker with few long rows
    column = gram[:, :0:-1].swapaxes(2, 3).reshape(batch, length - size, size)
    front = np.zeros((batch, size, length))
    # the backward predictor ends at the end of its array: growing it moves nothing
    back = np.zeros((batch, size, length))
    front[..., :size] = back[..., length - size :] = np.eye(size)
    for known in range(size, length, size):
        delta_t = front[..., :known] @ column[:, length - size - known :]
        delta = delta_t.swapaxes(1, 2)
        gain_forward = delta_t @ backward_inverse
        gain_backward = delta @ forward_inverse
        forward_error = _symmetric(forward_error - gain_forward @ delta)
        backward_error = _symmetric(backward_error - gain_backward @ delta_t)
        forward_inverse = np.linalg.inv(forward_error)
        backward_inverse = np.linalg.inv(backward_error)
        ahead, behind = front[..., : known + size], back[..., length - known - size :]
        change = gain_forward @ behind
        behind -= gain_backward @ ahead
        ahead -= change
    predictors = [x.reshape(batch, size, taps, size).transpose(0, 2, 3, 1) for x in (front, back)]
    return predictors[0], predictors[1], forward_inverse, backward_inverse


class Inverse:
    """Inverse of a symmetric block-Toeplitz matrix by the formula of Gohberg and Semencul.

    T^-1 = L(A) E^-1 L(A)' - L(B shifted) F^-1 L(B shifted)', where L(A) is the lower triangular
    block-Toeplitz matrix with A for its first column: a few FFTs for all right-hand sides.

    Shape: called with (batch, taps, size, columns), returns the same.
    """

    def __init__(
        self,
        forward: np.ndarray,
        backward: np.ndarray,
        forward_inverse: np.ndarray,
        backward_inverse: np.ndarray,
    ) -> None:
        self.taps = forward.shape[1]
        shifted = np.zeros_like(backward)
        shifted[:, 1:] = backward[:, :-1]
        self.terms = [
            (np.fft.rfft(predictor, n=2 * self.taps, axis=1), inverse[:, None])
            for predictor, inverse in ((forward, forward_inverse), (shifted, backward_inverse))
        ]

    def __call__(self, right: np.ndarray) -> np.ndarray:
        length = 2 * self.taps
        spectrum = np.fft.rfft(right, n=length, axis=1)
        terms = []
        for response, inverse in self.terms:
            # correlation with the predictor, cut to the matrix, then convolution, cut again
            inner = np.fft.irfft(response.conj().swapaxes(2, 3) @ spectrum, n=length, axis=1)
            weighted = inverse @ inner[:, : self.taps]
            outer = response @ np.fft.rfft(weighted, n=length, axis=1)
            terms.append(np.fft.irfft(outer, n=length, axis=1)[:, : self.taps])
        return terms[0] - terms[1]


def _symmetric(matrix: np.ndarray) -> np.ndarray:
    return (matrix + matrix.swapaxes(1, 2)) / 2


def _residual(
    gram: np.ndarray, right: np.ndarray, solution: np.ndarray, ridge: float
) -> tuple[np.ndarray, np.ndarray]:
    """What is left of the right-hand side, and the largest relative norm of a column: (batch,)."""
    taps = gram.shape[1]
    length = 2 * taps
    circulant = np.zeros((gram.shape[0], length, *gram.shape[2:]))
    circulant[:, :taps] = gram
    circulant[:, length - taps + 1 :] = gram[:, :0:-1].swapaxes(2, 3)
    spectrum = np.fft.rfft(circulant, axis=1) @ np.fft.rfft(solution, n=length, axis=1)
    rest = right - np.fft.irfft(spectrum, n=length, axis=1)[:, :taps] - ridge * solution
    norms, scale = (np.sqrt((part**2).sum(axis=(1, 2))) for part in (rest, right))
    relative = np.divide(norms, scale, out=np.where(norms == 0, 0.0, np.inf), where=scale > 0)
    return rest, np.nan_to_num(relative, nan=np.inf).max(axis=1)


def _without_multiples(
    gram: np.ndarray, right: np.ndarray, ridge: float
) -> tuple[np.ndarray, bool]:
    """Solve a doubtful item alone: drop channels that repeat another, else LU of the dense matrix.

    A mono stem on two channels makes the system singular but consistent: the projection does not
    change when the repeated channel gets no filter. The residual of the full system decides.

    Shape: gram (taps, size, size), right (taps, size, columns).
    """
    kept = _independent(gram[0])
    if len(kept):
        solution = np.zeros_like(right)
        reduced = _refined(gram[None][..., kept[:, None], kept], right[None][:, :, kept], ridge)
        solution[:, kept] = reduced[0]
        if _residual(gram[None], right[None], solution[None], ridge)[1][0] <= CERTIFIED:
            return solution, True
    return _dense_solve(gram, right, ridge), False


def _independent(energies: np.ndarray) -> np.ndarray:
    """Channels that are neither silent nor a multiple of an earlier one, from T_0."""
    kept: list[int] = []
    for channel, energy in enumerate(np.diag(energies)):
        products = [energies[channel, other] ** 2 for other in kept]
        limits = [energy * energies[other, other] * (1 - DEPENDENT) for other in kept]
        if energy > 0 and all(p < limit for p, limit in zip(products, limits, strict=True)):
            kept.append(channel)
    return np.array(kept, dtype=np.intp)


def _dense_solve(gram: np.ndarray, right: np.ndarray, ridge: float) -> np.ndarray:
    """General LU of the dense matrix with all right-hand sides at once, lstsq when singular."""
    taps, size, columns = right.shape
    flat = right.transpose(1, 0, 2).reshape(size * taps, columns)
    dense = _dense(gram)
    dense.flat[:: len(dense) + 1] += ridge
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # exactly singular: seen below
        # symmetric, so its transpose has LAPACK's memory order and needs no second copy
        factors = scipy.linalg.lu_factor(dense.T, overwrite_a=True, check_finite=False)
        solution = scipy.linalg.lu_solve(factors, flat, check_finite=False)
    if not factors[0].diagonal().all():
        solution = np.linalg.lstsq(_dense(gram), flat, rcond=None)[0]
    return solution.reshape(size, taps, columns).transpose(1, 0, 2)


def _dense(gram: np.ndarray) -> np.ndarray:
    """The block-Toeplitz matrix in museval's order, channels outside and lags inside."""
    taps, size, _ = gram.shape
    lags = np.concatenate([gram[:0:-1].swapaxes(1, 2), gram])  # -(taps - 1) ... taps - 1
    dense = np.empty((size, taps, size, taps))
    for row in range(size):
        for column in range(size):
            sequence = np.ascontiguousarray(lags[:, row, column])
            # entry (i, j) is lag i - j
            dense[row, :, column] = sliding_window_view(sequence, taps)[:, ::-1]
    return dense.reshape(size * taps, size * taps)
