"""Is one setting better than another? Paired differences with an interval that knows of seeds.

A score has the model y[arm, seed, track] = arm + track + (arm x track) + seed + (seed x track):
songs are hard or easy for everybody, an arm suits some songs better, a seed is lucky overall or
in a song. Two arms are compared on the same tracks, so the tracks themselves cancel out; what is
left is chance between seeds and chance between tracks, two crossed factors.

Resampling tracks alone leaves the seeds out and calls equal settings different in a third of all
studies at a seed spread of 0.15 dB. Resampling both by percentiles is still too narrow, because
three seeds drawn again from three seeds spread by a third too little and have no heavy tails: it
errs in a tenth of all studies. So the same two variances are estimated without bias (analysis of
variance with crossed random effects), added, and the interval takes Student's t at the degrees of
freedom that Satterthwaite gives to the sum (Biometrics Bulletin 2, 1946).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LEVEL = 0.95  # of the intervals
POWER = 0.8  # with which the "smallest difference that could have been shown" would be found


class Comparison(NamedTuple):
    """First arm minus second, on tracks that both have.

    difference: mean over tracks (dB); median: median over tracks of the same differences.
    low, high: interval of the mean at `LEVEL`; spread: its standard error; freedom: of its t.
    p: two-sided. detectable: the smallest true difference found with probability `POWER`.
    seeds: of the arms; tracks: matched ones.
    """

    difference: float
    median: float
    low: float
    high: float
    spread: float
    freedom: float
    p: float
    detectable: float
    seeds: tuple[int, int]
    tracks: int

    @property
    def of_checkpoints(self) -> bool:
        """Whether an arm has one seed only, so that nothing can be said of the setting."""
        return min(self.seeds) < 2


def compare(first: np.ndarray, second: np.ndarray) -> Comparison:
    """Compare two arms scored on the same tracks.

    With one seed in an arm the interval holds over tracks alone.

    Shape:
        first, second: (seeds, tracks), finite, the same tracks in the same order.
    """
    gaps = first.mean(0) - second.mean(0)
    seeds, tracks = (len(first), len(second)), len(gaps)
    difference = float(gaps.mean())
    variance, freedom = _variance(first, second, gaps)
    spread = math.sqrt(variance)
    if spread == 0:  # the same scores twice, or nothing to estimate a spread from
        reach = 0.0 if freedom > 0 else math.inf
        p = 1.0 if freedom <= 0 or difference == 0 else 0.0
        detectable = reach
    else:
        from scipy.special import stdtr, stdtrit

        quantile = stdtrit(freedom, (1 + LEVEL) / 2)
        reach = float(quantile * spread)
        p = float(2 * stdtr(freedom, -abs(difference) / spread))
        detectable = float((quantile + stdtrit(freedom, POWER)) * spread)
    return Comparison(
        difference, float(np.median(gaps)), difference - reach, difference + reach,
        spread, freedom, p, detectable, seeds, tracks,
    )  # fmt: skip


def _variance(first: np.ndarray, second: np.ndarray, gaps: np.ndarray) -> tuple[float, float]:
    """Variance of the mean difference and its degrees of freedom; (0, 0) where unknowable."""
    tracks = len(gaps)
    across = float(gaps.var(ddof=1)) / tracks if tracks > 1 else 0.0
    if min(len(first), len(second)) < 2:
        return across, float(tracks - 1)
    parts = _seed_parts(first, second)
    total = sum(variance for variance, _ in parts)
    weight = sum(variance**2 / freedom for variance, freedom in parts)
    if tracks > 1:
        # luck of a seed in a track is in both variances: take it out of one of them
        freedom = (len(first) + len(second) - 2) * (tracks - 1)
        rest = _interaction(first) + _interaction(second)
        twice = (1 / len(first) + 1 / len(second)) * rest / freedom / tracks
        if across > twice:
            total += across - twice
            weight += across**2 / (tracks - 1) + twice**2 / freedom
    return total, max(1.0, total**2 / weight) if weight > 0 else 1.0


def _seed_parts(first: np.ndarray, second: np.ndarray) -> list[tuple[float, int]]:
    """Variances between seeds with their degrees of freedom, as parts of the difference's.

    Both arms' spreads are pooled, as equal settings have equal ones; where an F test at 5 % says
    that they differ (one arm diverges now and then) each arm keeps its own.
    """
    from scipy.special import fdtrc

    sizes = len(first), len(second)
    own = [float(arm.mean(1).var(ddof=1)) for arm in (first, second)]
    (small, less), (large, more) = sorted(zip(own, (n - 1 for n in sizes), strict=True))
    if large > 0 and (small == 0 or fdtrc(more, less, large / small) < 0.025):
        return [(v / n, n - 1) for v, n in zip(own, sizes, strict=True)]
    freedom = sum(sizes) - 2
    pooled = sum(v * (n - 1) for v, n in zip(own, sizes, strict=True)) / freedom
    return [(pooled * (1 / sizes[0] + 1 / sizes[1]), freedom)]


def _interaction(arm: np.ndarray) -> float:
    """Sum of squares that neither the seed nor the track explains."""
    rest = arm - arm.mean(0) - arm.mean(1, keepdims=True) + arm.mean()
    return float((rest**2).sum())


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction: p values that keep the error over the whole family."""
    order = sorted(range(len(p)), key=lambda index: p[index])
    adjusted = [1.0] * len(p)
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = running
    return adjusted


def words(
    name: str,
    found: Comparison,
    adjusted: float,
    family: int,
    *,
    unit: str = "dB",
    lower_is_better: bool = False,
) -> str:
    """A comparison in a sentence; `adjusted` is its p value after Holm over `family` of them."""
    size = f"{found.difference:+.2f} {unit}".rstrip()
    interval = f"{found.low:.2f} to {found.high:.2f}"
    if found.of_checkpoints:
        within = f", {interval} over tracks alone" if math.isfinite(found.low) else ""
        return (
            f"{name}: {size}{within}: this checkpoint against that one (seeds: "
            f"{found.seeds[0]} and {found.seeds[1]}), no word on the setting"
        )
    if found.low <= 0 <= found.high:
        return f"{name}: {size}, interval {interval} crosses 0: no evidence"
    if adjusted >= 1 - LEVEL:
        return (
            f"{name}: {size}, interval {interval}, but not after Holm's correction for {family} "
            f"comparisons (p {adjusted:.2f}): no evidence"
        )
    verdict = "better" if (found.difference > 0) != lower_is_better else "worse"
    return f"{name}: {size}, interval {interval}: {verdict}"
