"""Tables of scores: one run's report, and one table over many runs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from sepexp.report.runs import RunRecord, command, differing, open_runs
from sepexp.report.scores import (
    ALL,
    FLOORS,
    FRAMEWISE,
    Cell,
    Scores,
    silences,
    sources,
    summary,
    systems,
)
from sepexp.report.text import Table, both, count, duration, latex, markdown, number, terminal

__all__ = ["latex", "markdown", "short_report", "summary", "sweep_table", "terminal"]

BOTH = "Every cell is median / mean over tracks, in dB; frames are brought together by NaN-median."
DEMO = (
    "These songs were synthesised: the scores show that everything works and what differs, but "
    "say nothing about real music, and figures published for MUSDB18 can't be set beside them."
)


def score_table(scores: Scores, metric: str = "SDR", *, title: str = "") -> Table:
    """One run's systems by its sources, floors first, oracles last."""
    cells = summary(scores, [metric])
    shown = [*sources(scores), ALL] if len(sources(scores)) > 1 else sources(scores)
    table = {(cell.system, cell.source): cell for cell in cells}
    rows = []
    for system in systems(scores):
        found = [table.get((system, source)) for source in shown]
        if any(found):
            rows.append([_role(system), *(both(c.median, c.mean) if c else "–" for c in found)])
    return Table(title or metric, ["system", *shown], rows, [BOTH, *_silence_notes(cells)])


def short_report(folder: Path | str, card: str = "") -> str:
    """The text of a run's `report.md`: what was run, on what, and how it scored beside the rows.

    Args:
        folder: The run folder.
        card: The metric card's text, if there is one.

    Raises:
        UserError: The folder holds no tested run.
    """
    record = open_runs([folder])[0]
    scores = record.scores
    parts = [f"# Run {record.passport.get('id', record.label)}", _stamp([record])]
    parts.append(_bullets(_facts(record)))
    parts.append("## Scores")
    present = {key.metric for key in scores}
    main: list[str] = [metric for metric in ("SDR", "uSDR") if metric in present]
    for metric in main or sorted(present):
        parts.append(markdown(score_table(scores, metric, title=_metric_title(metric))))
    parts.append(reading(scores))
    rest = [metric for metric in FRAMEWISE[1:] if metric in present]
    if rest:
        parts.append(markdown(_model_table(scores, rest)))
    parts += ["## Metric card", card or default_card(record)]
    limits = _limits(record)
    if limits:
        parts += ["## What this can't say", _bullets(limits)]
    return "\n\n".join(part for part in parts if part) + "\n"


def sweep_table(
    folders: Iterable[Path | str],
    *,
    metric: str = "SDR",
    write: Callable[[Table], str] = markdown,
) -> str:
    """One table over runs: which settings differ, what they cost, how they scored.

    Raises:
        UserError: A folder holds no run.
    """
    return write(runs_table(open_runs(folders), metric))


def runs_table(records: Sequence[RunRecord], metric: str = "SDR") -> Table:
    """A row for every run, and beneath them the rows of the systems that all runs share."""
    tested = [record for record in records if record.has_scores]
    keys = differing(records)
    names = list(dict.fromkeys(source for record in tested for source in sources(record.scores)))
    shown = [*names, ALL] if len(names) > 1 else names
    columns = ["run", *keys, "seed", *shown, "params", "MACs/s", "training", "RTF", "peak MB"]
    rows: list[list[str]] = []
    cells: list[Cell] = []
    for record in records:
        found = {c.source: c for c in _model_cells(record, metric)}
        cells += found.values()
        scored = [both(found[s].median, found[s].mean) if s in found else "–" for s in shown]
        chosen = [record.choice(key) for key in keys]
        status = "" if record.has_scores else f" ({record.passport.get('status', 'untested')})"
        rows.append([record.label + status, *chosen, str(record.seed), *scored, *costs(record)])
    notes = [BOTH, *_silence_notes(cells)]
    notes += [record.stamped for record in records if record.stamped]
    prints = {json.dumps(r.test_fingerprint, sort_keys=True) for r in tested if r.test_fingerprint}
    if len(prints) > 1:
        notes.append("THE RUNS WERE TESTED ON DIFFERENT SONGS: their scores can't be compared.")
    elif tested:
        rows += _shared_rows(tested[0], metric, shown, len(keys))
    return Table(f"{_metric_title(metric)}, {len(records)} runs", columns, rows, notes)


def costs(record: RunRecord) -> list[str]:
    """Parameters, MACs for a second of music, training time, real-time factor, peak memory."""
    return [
        count(record.fact("parameters")),
        count(record.fact("macs")),
        duration(record.fact("train_seconds")),
        number(record.fact("real_time_factor"), 3),
        number(record.fact("peak_memory_mb"), 0),
    ]


def reading(scores: Scores) -> str:
    """A sentence on where the model stands between the floor and the oracle."""
    best: dict[str, tuple[float, str]] = {}
    for cell in summary(scores, ["SDR"]):
        whole = cell.source == ALL or len(sources(scores)) == 1
        if not whole or not math.isfinite(cell.mean):
            continue
        kind = "model" if cell.system == "model" else "oracle"
        kind = "floor" if cell.system in FLOORS else kind
        best[kind] = max(best.get(kind, (-math.inf, "")), (cell.mean, cell.system))
    if "model" not in best or "floor" not in best:
        return ""
    (model, _), (floor, floor_name) = best["model"], best["floor"]
    gain = model - floor
    text = f"In the mean over tracks the model scores {number(model)} dB, "
    text += f"{number(abs(gain))} dB {'above' if gain > 0 else 'BELOW'} the best row that separates"
    text += f" nothing ({floor_name}, {number(floor)} dB)"
    if "oracle" in best:
        text += f"; the best oracle ({best['oracle'][1]}) has {number(best['oracle'][0])} dB"
    return text + "."


def default_card(record: RunRecord) -> str:
    """What the numbers are, from the passport."""
    tested = record.passport.get("tested") or {}
    metric = tested.get("metric") or {}
    window, hop = metric.get("window", "?"), metric.get("hop", "?")
    tracks = len({key.track for key in record.scores})
    lines = [
        f"SDR, ISR, SIR, SAR: BSSEval v4 as museval 0.4.1 defines it, window {window} s, hop "
        f"{hop} s (backend: {metric.get('backend', 'unknown')})",
        "silence: a frame in which one source or estimate is silent counts for none; a source that "
        "is silent throughout a track drops out there and is named",
        "uSDR: 10 log10 of signal over error on the whole track, as in the MDX and SDX challenges",
        "aggregation: NaN-median over frames, then median / mean over tracks; 'all' is the plain "
        "mean of the sources",
        f"split: {tested.get('split', 'test')}, {tracks} tracks, fingerprint {_print(record)}",
    ]
    return _bullets(lines)


def _facts(record: RunRecord) -> list[str]:
    passport = record.passport
    hardware = passport.get("hardware") or {}
    machine = ", ".join(hardware.get("gpus") or []) or f"{hardware.get('cores', '?')} CPU cores"
    best = passport.get("best") or {}
    parameters, macs, training, factor, peak = costs(record)
    facts = [
        f"command: `{command(record)}`",
        f"seed: {record.seed}; status: {passport.get('status', 'unknown')}; "
        f"commit: {passport.get('commit') or 'unknown'}",
        f"model: {passport.get('model', 'unknown')}, {parameters} parameters, {macs} "
        "multiply-accumulates for a second of music",
        f"data: {record.data or 'unknown'}, test fingerprint {_print(record)}",
        f"training: {training} on {machine}; separation: {factor} s of computing for a second of "
        f"music; peak memory {peak} MB",
    ]
    if best:
        facts.append("best validation: " + ", ".join(f"{k} {_value(v)}" for k, v in best.items()))
    return facts


def _limits(record: RunRecord) -> list[str]:
    limits = []
    note = (record.passport.get("data") or {}).get("note", "") if record.data else ""
    if "demo" in record.data.lower():
        limits.append(DEMO)
    if note:
        limits.append(str(note))
    tracks = len({key.track for key in record.scores})
    if tracks < 10:
        limits.append(
            f"{tracks} test songs are few: differences of less than a dB or so may be chance."
        )
    limits.append("This is one seed: another seed of the same settings scores a bit differently.")
    return limits


def _model_table(scores: Scores, metrics: list[str]) -> Table:
    cells = {(c.metric, c.source): c for c in summary(scores, metrics) if c.system == "model"}
    shown = [*sources(scores), ALL] if len(sources(scores)) > 1 else sources(scores)
    rows = [
        [
            m,
            *(
                both(cells[m, s].median, cells[m, s].mean) if (m, s) in cells else "–"
                for s in shown
            ),
        ]
        for m in metrics
    ]
    return Table("The model's other numbers", ["metric", *shown], rows)


def _model_cells(record: RunRecord, metric: str) -> list[Cell]:
    if not record.has_scores:
        return []
    return [cell for cell in summary(record.scores, [metric]) if cell.system == "model"]


def _shared_rows(record: RunRecord, metric: str, shown: list[str], keys: int) -> list[list[str]]:
    rows = []
    for system in systems(record.scores):
        found = {c.source: c for c in summary(record.scores, [metric]) if c.system == system}
        if system != "model" and found:
            scored = [both(found[s].median, found[s].mean) if s in found else "–" for s in shown]
            rows.append([_role(system), *["–"] * (keys + 1), *scored, *["–"] * 5])
    return rows


def _role(system: str) -> str:
    return system if system == "model" or system in FLOORS else f"{system} (oracle)"


def _metric_title(metric: str) -> str:
    titles = {"SDR": "SDR (BSSEval v4, framewise)", "uSDR": "uSDR (whole track)"}
    return titles.get(metric, metric)


def _silence_notes(cells: Sequence[Cell]) -> list[str]:
    return [
        f"{source} has no finite value in {', '.join(songs)}: left out there."
        for source, songs in silences(cells).items()
    ]


def _print(record: RunRecord) -> str:
    found = record.test_fingerprint
    return str(found)[:16] if found else "unknown"


def _stamp(records: Sequence[RunRecord]) -> str:
    return "\n".join(f"**{record.stamped}**" for record in records if record.stamped)


def _value(value: object) -> str:
    return number(value) if isinstance(value, float) else str(value)


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
