"""The long table of scores: read, brought to one number a track, then to one number a system.

Frames: NaN-median, as museval does (infinite values count as NaN, as in its files). Tracks: median
and mean, always side by side, because papers differ and one model can be 6.6 by one and 3.4 by
the other. A source that has no finite frame in a track drops out there and is named.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sepexp.errors import UserError

COLUMNS = ("run", "system", "track", "source", "metric", "frame", "value")
FRAMEWISE = ("SDR", "ISR", "SIR", "SAR")
ALL = "all"  # the mean over sources
FLOORS = ("mixture", "mixture/N", "near-silence")


class Key(NamedTuple):
    """What a series of values belongs to."""

    run: str
    system: str
    track: str
    source: str
    metric: str


Scores = dict[Key, np.ndarray]  # values over frames; a whole-track number is a series of one


class Cell(NamedTuple):
    """One score of a summary.

    tracks: how many songs count. silent: songs in which the source has no finite value.
    """

    run: str
    system: str
    metric: str
    source: str
    median: float
    mean: float
    tracks: int
    silent: tuple[str, ...]


def read_scores(path: Path, *, run: str | None = None) -> Scores:
    """Read a `scores.csv`; `run` renames the run in it.

    Raises:
        UserError: The file is missing, or has other columns, or a value that is no number.
    """
    if not path.is_file():
        raise UserError(
            f"{path} is missing: expected the score table of a run; score it with "
            "`python -m sepexp evaluate RUN`"
        )
    series: dict[Key, list[tuple[int, float]]] = {}
    with path.open(newline="") as file:
        reader = csv.reader(file)
        header = tuple(next(reader, ()))
        if header != COLUMNS:
            raise UserError(
                f"{path} has columns {', '.join(header)}: expected {', '.join(COLUMNS)}"
            )
        for row in reader:
            try:
                name, system, track, source, metric, frame, value = row
                point = (int(frame) if frame else -1, float(value))
            except ValueError:
                raise UserError(
                    f"{path} line {reader.line_num} is {','.join(row)!r}: expected "
                    f"{','.join(COLUMNS)} with a number as value and an integer or empty frame"
                ) from None
            series.setdefault(Key(run or name, system, track, source, metric), []).append(point)
    return {key: np.array([v for _, v in sorted(points)]) for key, points in series.items()}


def track_value(values: np.ndarray) -> float:
    """NaN-median over frames, infinite ones skipped; NaN where nothing is finite."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else math.nan


def by_track(scores: Scores, metric: str = "SDR") -> dict[tuple[str, str, str], dict[str, float]]:
    """One number a track: (run, system, source) -> track -> value, NaN where nothing counts.

    The source "all" is the mean over the sources that count in the track.
    """
    table: dict[tuple[str, str, str], dict[str, float]] = {}
    for key, values in scores.items():
        if key.metric == metric:
            table.setdefault((key.run, key.system, key.source), {})[key.track] = track_value(values)
    together: dict[tuple[str, str, str], dict[str, list[float]]] = {}
    for (run, system, _), tracks in table.items():
        group = together.setdefault((run, system, ALL), {})
        for track, value in tracks.items():
            group.setdefault(track, []).append(value)
    for name, group in together.items():
        if sum(other[:2] == name[:2] for other in table) > 1:
            table[name] = {t: finite_mean(values) for t, values in group.items()}
    return table


def summary(scores: Scores, metrics: Iterable[str] | None = None) -> list[Cell]:
    """Median and mean over tracks of every run, system, metric and source.

    The source "all" is the plain mean of the sources' own numbers, as published tables have it.
    """
    present = list(dict.fromkeys(key.metric for key in scores))
    cells = []
    for metric in present if metrics is None else metrics:
        table = {n: t for n, t in by_track(scores, metric).items() if n[2] != ALL}
        groups: dict[tuple[str, str], list[Cell]] = {}
        for (run, system, source), tracks in table.items():
            finite = [value for value in tracks.values() if math.isfinite(value)]
            cell = Cell(
                run,
                system,
                metric,
                source,
                float(np.median(finite)) if finite else math.nan,
                float(np.mean(finite)) if finite else math.nan,
                len(finite),
                tuple(track for track, value in tracks.items() if not math.isfinite(value)),
            )
            groups.setdefault((run, system), []).append(cell)
        for (run, system), group in groups.items():
            cells += group
            if len(group) > 1:
                cells.append(_all(run, system, metric, group))
    return cells


def _all(run: str, system: str, metric: str, group: list[Cell]) -> Cell:
    median = finite_mean([cell.median for cell in group])
    mean = finite_mean([cell.mean for cell in group])
    return Cell(run, system, metric, ALL, median, mean, max(c.tracks for c in group), ())


def finite_mean(values: Iterable[float]) -> float:
    """Mean of what is finite; NaN where nothing is."""
    finite = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else math.nan


def sources(scores: Scores) -> list[str]:
    """Sources in the order in which they appear."""
    return list(dict.fromkeys(key.source for key in scores))


def systems(scores: Scores) -> list[str]:
    """Systems, floors first, then the models, then the oracles."""
    names = list(dict.fromkeys(key.system for key in scores))
    order: Mapping[bool, int] = {True: 1, False: 2}

    def rank(name: str) -> tuple[int, int]:
        return (0 if name in FLOORS else order[name == "model"], names.index(name))

    return sorted(names, key=rank)


def silences(cells: Iterable[Cell]) -> dict[str, tuple[str, ...]]:
    """Source -> the songs in which it drops out for every system."""
    found: dict[str, set[str]] = {}
    for cell in cells:
        if cell.source != ALL:
            silent = set(cell.silent)
            found[cell.source] = found[cell.source] & silent if cell.source in found else silent
    return {source: tuple(sorted(songs)) for source, songs in found.items() if songs}
