"""A study's arms side by side: one row an arm, its seeds folded, references beneath.

An arm is what one key of the command line chose, such as experiments/mrcae_lengths/arm=several.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from sepexp.errors import UserError
from sepexp.metric.card import unit
from sepexp.report.arms import judge, verdict_table
from sepexp.report.runs import RunRecord
from sepexp.report.scores import ALL, by_track, summary
from sepexp.report.text import Table, number

MODEL = "model"


def arms_of(records: Sequence[RunRecord], choice: str) -> dict[str, list[RunRecord]]:
    """The tested runs of every arm, in the order in which they come.

    Raises:
        UserError: No tested run chose an arm.
    """
    found: dict[str, list[RunRecord]] = {}
    for record in records:
        if record.has_scores and choice in record.choices:
            found.setdefault(record.choices[choice], []).append(record)
    if not found:
        raise UserError(f"none of these runs was tested and has {choice}= on its command line")
    return found


def means(record: RunRecord, metric: str) -> dict[str, dict[str, float]]:
    """System -> source -> median over frames, mean over tracks; "all" is the mean of the sources.

    Raises:
        UserError: The metric was not measured.
    """
    found: dict[str, dict[str, float]] = {}
    for cell in summary(record.scores, [metric]):
        found.setdefault(cell.system, {})[cell.source] = cell.mean
    if MODEL not in found:
        raise UserError(
            f"{record.label} has no {metric} of the model: score it with `evaluate --scores`"
        )
    return found


def arms_table(records: Sequence[RunRecord], choice: str, metric: str) -> Table:
    """Mean over seeds of every arm, for "all" its seeds' range, and the rows that need no training.

    Raises:
        UserError: No tested run chose an arm, or the metric was not measured.
    """
    arms = arms_of(records, choice)
    first = means(next(iter(arms.values()))[0], metric)
    sources = list(first[MODEL])
    rows = []
    for arm, runs in arms.items():
        seeds = [means(run, metric)[MODEL] for run in runs]
        cells = [number(statistics.mean(seed[source] for seed in seeds)) for source in sources]
        ends = [number(end([seed[ALL] for seed in seeds])) for end in (min, max)]
        rows.append([arm, str(len(runs)), *cells, " to ".join(ends)])
    for system, row in first.items():
        if system != MODEL:
            rows.append([system, "–", *(number(row.get(source)) for source in sources), "–"])
    size = f", {unit(metric)}" if unit(metric) else ""
    columns = ["arm", "seeds", *sources, "lowest to highest seed"]
    return Table(f"{metric}{size}: median over frames, mean over tracks", columns, rows)


def verdicts(records: Sequence[RunRecord], metric: str) -> list[str]:
    """The report's sentences on every pair of arms."""
    table, lines = verdict_table(judge(records, metric))
    return [*lines, *table.notes]


def track_means(
    records: Sequence[RunRecord], choice: str, metric: str
) -> dict[str, dict[str, list[float]]]:
    """Source -> arm -> each track's score, averaged over seeds: what a figure of boxes takes."""
    found: dict[str, dict[str, list[float]]] = {}
    for arm, runs in arms_of(records, choice).items():
        tracks: dict[tuple[str, str], list[float]] = {}
        for run in runs:
            for (_, system, source), scores in by_track(run.scores, metric).items():
                for track, value in scores.items():
                    if system == MODEL:
                        tracks.setdefault((source, track), []).append(value)
        for (source, _), values in tracks.items():
            found.setdefault(source, {}).setdefault(arm, []).append(statistics.mean(values))
    return found
