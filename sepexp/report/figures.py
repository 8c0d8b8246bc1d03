"""The figures of runs, from their score tables and logs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sepexp import plot
from sepexp.metric.card import unit
from sepexp.report.arms import arms
from sepexp.report.runs import RunRecord, differing, open_runs, read_curves
from sepexp.report.scores import ALL, Scores, by_track, finite_mean, sources, summary, systems

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_run_figures(folder: Path | str) -> list[Path]:
    """Draw a run's boxes and learning curves into its `figures` folder.

    Raises:
        UserError: The folder holds no tested run.
    """
    record = open_runs([folder])[0]
    figures = {"sdr": run_boxes(record.scores)} | run_curves(record)
    target = record.folder / "figures"
    target.mkdir(exist_ok=True)
    paths = []
    for name, figure in figures.items():
        paths.append(target / f"{name}.png")
        plot.save(figure, paths[-1])
    return paths


def run_boxes(scores: Scores, metric: str = "SDR") -> Figure:
    """Scores by source and system over one run's tracks."""
    table = by_track(scores, metric)
    values = {
        source: {
            system: [
                v
                for (_, y, s), t in table.items()
                if (y, s) == (system, source)
                for v in t.values()
            ]
            for system in systems(scores)
        }
        for source in sources(scores)
    }
    size = f" ({unit(metric)})" if unit(metric) else ""
    return plot.boxes_figure(
        values, y_label=f"{metric}{size}", title=f"{metric} by source and system"
    )


def runs_boxes(records: Sequence[RunRecord], metric: str = "SDR") -> Figure:
    """Scores by source and setting; a track's score is its mean over the setting's seeds."""
    names = list(dict.fromkeys(s for record in records for s in sources(record.scores)))
    values: dict[str, dict[str, list[float]]] = {name: {} for name in names}
    for label, runs in settings(records).items():
        tables = [(run, by_track(run.scores, metric)) for run in runs]
        for source in names:
            columns = [table.get((run.label, "model", source), {}) for run, table in tables]
            tracks = dict.fromkeys(track for column in columns for track in column)
            means = [finite_mean(c.get(t, math.nan) for c in columns) for t in tracks]
            values[source][label] = means
    size = f" ({unit(metric)})" if unit(metric) else ""
    return plot.boxes_figure(values, y_label=f"{metric}{size}", title=f"{metric} by source")


def settings(records: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """Tested runs by what they are called in figures: their settings where seeds repeat them."""
    groups = arms([record for record in records if record.has_scores])[0]
    keys = differing(records)
    found: dict[str, list[RunRecord]] = {}
    for arm in groups:
        name = ", ".join(arm.runs[0].choice(key) for key in keys)
        if not name or name in found or len(arm.runs) == 1 or len(groups) == 1:
            name = arm.runs[0].name
        count = f" ({len(arm.runs)} seeds)" if len(arm.runs) > 1 else ""
        found[f"{name}{count}"] = arm.runs
    return found


def run_curves(record: RunRecord) -> dict[str, Figure]:
    """Learning curves of the loss and of the validation score; only those that were logged."""
    curves = read_curves(record.folder / "metrics.csv")
    losses = {n: c for n, c in curves.items() if "loss" in n}
    scores = {
        n.removeprefix("valid/sdr").lstrip("/") or "mean": c
        for n, c in curves.items()
        if n.startswith("valid/sdr")
    }
    figures = {}
    if losses:
        figures["loss"] = plot.curves_figure(losses, y_label="loss", title="Loss")
    if scores:
        figures["validation"] = plot.curves_figure(
            scores, y_label="SDR (dB)", title="Validation SDR"
        )
    return figures


def runs_curves(records: Sequence[RunRecord]) -> Figure | None:
    """The monitored number of several runs over epochs, one colour a setting, one line a seed."""
    curves, families = {}, {}
    kin = {run.name: label for label, runs in settings(records).items() for run in runs}
    for record in records:
        found = read_curves(record.folder / "metrics.csv").get("valid/sdr")
        if found:
            curves[record.name] = found
            families[record.name] = kin.get(record.name, record.name)
    if not curves:
        return None
    return plot.curves_figure(
        curves, y_label="SDR (dB)", title="Validation SDR over epochs", families=families
    )


def pareto(records: Sequence[RunRecord], cost: str = "macs", metric: str = "SDR") -> Figure | None:
    """Score against cost, where at least two settings have both; a whisker spans the seeds."""
    labels = {
        "macs": "multiply-accumulates for a second of music",
        "parameters": "parameters",
        "real_time_factor": "seconds of computing for a second of music",
    }
    points, reach = {}, {}
    for label, runs in settings(records).items():
        scores = [_overall(run, metric) for run in runs]
        points[label] = (finite_mean(run.fact(cost) for run in runs), finite_mean(scores))
        if len(runs) > 1:
            reach[label] = (min(scores), max(scores))
    if sum(math.isfinite(x) and math.isfinite(y) for x, y in points.values()) < 2:
        return None
    size = f" ({unit(metric)})" if unit(metric) else ""
    return plot.pareto_figure(
        points, x_label=labels[cost], y_label=f"{metric}{size}, mean over tracks",
        title=f"{metric} and {labels[cost].split(' for ')[0]}", reach=reach,
    )  # fmt: skip


def _overall(record: RunRecord, metric: str) -> float:
    cells = {c.source: c.mean for c in summary(record.scores, [metric]) if c.system == "model"}
    return cells.get(ALL, next(iter(cells.values()), math.nan))
