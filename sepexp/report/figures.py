"""The figures of runs, from their score tables and logs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sepexp import plot
from sepexp.report.runs import RunRecord, open_runs, read_curves
from sepexp.report.scores import ALL, Scores, by_track, sources, summary, systems

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
    return plot.boxes_figure(
        values, y_label=f"{metric} (dB)", title=f"{metric} by source and system"
    )


def runs_boxes(records: Sequence[RunRecord], metric: str = "SDR") -> Figure:
    """Scores by source and run over the tracks of several runs."""
    tables = [(record, by_track(record.scores, metric)) for record in records]
    names = list(dict.fromkeys(s for record in records for s in sources(record.scores)))
    values = {
        source: {
            record.name: list(table.get((record.label, "model", source), {}).values())
            for record, table in tables
        }
        for source in names
    }
    return plot.boxes_figure(values, y_label=f"{metric} (dB)", title=f"{metric} by source and run")


def run_curves(record: RunRecord) -> dict[str, Figure]:
    """Learning curves of the loss and of the validation score; only those that were logged."""
    curves = read_curves(record.folder / "metrics.csv")
    losses = {n: c for n, c in curves.items() if "loss" in n}
    scores = {n: c for n, c in curves.items() if n.startswith("valid/sdr")}
    figures = {}
    if losses:
        figures["loss"] = plot.curves_figure(losses, y_label="loss", title="Loss")
    if scores:
        figures["validation"] = plot.curves_figure(
            scores, y_label="SDR (dB)", title="Validation SDR"
        )
    return figures


def runs_curves(records: Sequence[RunRecord]) -> Figure | None:
    """The monitored number of several runs over epochs."""
    curves = {}
    for record in records:
        found = read_curves(record.folder / "metrics.csv").get("valid/sdr")
        if found:
            curves[record.name] = found
    if not curves:
        return None
    return plot.curves_figure(curves, y_label="SDR (dB)", title="Validation SDR")


def pareto(records: Sequence[RunRecord], cost: str = "macs") -> Figure | None:
    """Score against cost, where at least two runs have both."""
    labels = {
        "macs": "multiply-accumulates for a second of music",
        "parameters": "parameters",
        "real_time_factor": "seconds of computing for a second of music",
    }
    points = {r.name: (r.fact(cost), _overall(r)) for r in records if r.has_scores}
    if sum(math.isfinite(x) and math.isfinite(y) for x, y in points.values()) < 2:
        return None
    return plot.pareto_figure(
        points, x_label=labels[cost], y_label="SDR (dB), mean over tracks", title="Score and cost"
    )


def _overall(record: RunRecord) -> float:
    cells = {c.source: c.mean for c in summary(record.scores, ["SDR"]) if c.system == "model"}
    return cells.get(ALL, next(iter(cells.values()), math.nan))
