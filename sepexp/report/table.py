"""Tables of scores: one run's report, and one table over many runs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from sepexp.errors import UserError
from sepexp.metric.card import cards_text, metric_card, unit
from sepexp.report.runs import RunRecord, command, differing, open_runs
from sepexp.report.scores import (
    ALL,
    FLOORS,
    Cell,
    Scores,
    silences,
    sources,
    summary,
    systems,
)
from sepexp.report.text import Table, both, count, duration, latex, markdown, number, terminal

__all__ = ["latex", "markdown", "short_report", "summary", "sweep_table", "terminal"]

LEAK = "leak of "
PERFECT = "true magnitude, true phase"
COSTS = (
    "MACs/s: multiply-accumulates for a second of music; training: of this run; RTF: seconds of "
    "computing for a second of music; peak MB: memory of the command that scored, its training "
    "included, on a GPU the GPU's."
)
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
    return Table(
        title or metric, ["system", *shown], rows, [_cells(metric), *_silence_notes(cells)]
    )


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
    rest = [metric for metric in dict.fromkeys(key.metric for key in scores) if metric not in main]
    if main and [metric for metric in rest if not metric.startswith(LEAK)]:
        parts.append(markdown(_model_table(scores, rest)))
    if any(metric.startswith(LEAK) for metric in rest):
        parts.append(markdown(leak_table(scores)))
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
    check_metric(tested, metric)
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
    notes = [_cells(metric), COSTS, *_silence_notes(cells)]
    notes += _cards([metric], tested[0]) if tested else []
    notes += [record.stamped for record in records if record.stamped]
    prints = {json.dumps(r.test_fingerprint, sort_keys=True) for r in tested if r.test_fingerprint}
    if len(prints) > 1:
        notes.append("THE RUNS WERE TESTED ON DIFFERENT SONGS: their scores can't be compared.")
    notes += _scored_differently(tested)
    if tested and len(prints) < 2:
        rows += _shared_rows(tested[0], metric, shown, len(keys))
    return Table(f"{_metric_title(metric)}, {len(records)} runs", columns, rows, notes)


def check_metric(tested: Sequence[RunRecord], metric: str) -> None:
    """Refuse a metric that no run has.

    Raises:
        UserError: With the metrics that there are, and how to get more.
    """
    present = dict.fromkeys(key.metric for record in tested for key in record.scores)
    if tested and metric not in present:
        raise UserError(
            f"metric {metric} is in none of these runs: expected one of {', '.join(present)}, or "
            "score a run again with `python -m sepexp evaluate RUN --scores NAME`"
        )


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
        # the truth put together again proves the path and is no rival to anybody
        if not whole or not math.isfinite(cell.mean) or cell.system == PERFECT:
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
    """What a run's numbers are: definitions, frames, silence, tracks."""
    present = list(dict.fromkeys(key.metric for key in record.scores))
    leaks = [metric for metric in present if metric.startswith(LEAK)]
    plain = [metric for metric in present if metric not in leaks]
    lines = _cards([*plain, *(["leak"] if leaks else [])], record)
    together = "'all' is the plain mean of the sources' own numbers"
    return _bullets([*lines, together, f"audio of the test songs: fingerprint {_print(record)}"])


def _cards(metrics: Sequence[str], record: RunRecord) -> list[str]:
    """The cards of some metrics of a run."""
    tested = record.passport.get("tested") or {}
    settings = tested.get("metric") or {}
    split = " ".join(filter(None, (record.data, tested.get("split", "test"))))
    names = sorted({key.track for key in record.scores})
    return cards_text([
        metric_card(
            metric, window=settings.get("window", math.nan), hop=settings.get("hop", math.nan),
            split=split, names=names, backend=settings.get("backend", "unknown"),
        )
        for metric in metrics
    ])  # fmt: skip


def _scored_differently(records: Sequence[RunRecord]) -> list[str]:
    ways: dict[str, list[str]] = {}
    for record in records:
        tested = record.passport.get("tested") or {}
        way = {"split": tested.get("split", "test"), **(tested.get("metric") or {})}
        way["checkpoint"] = tested.get("checkpoint", "best.ckpt")
        text = ", ".join(f"{key} {value}" for key, value in sorted(way.items()))
        ways.setdefault(text, []).append(record.label)
    if len(ways) < 2:
        return []
    parts = (f"{', '.join(labels)}: {text}" for text, labels in ways.items())
    return [f"THE RUNS WERE SCORED DIFFERENTLY: {'; '.join(parts)}."]


def leak_table(scores: Scores) -> Table:
    """How much of each reference sits in the model's estimates."""
    names = list(dict.fromkeys(key.metric for key in scores if key.metric.startswith(LEAK)))
    cells = {(c.metric, c.source): c for c in summary(scores, names) if c.system == "model"}
    rows = []
    for source in sources(scores):
        found = [cells.get((name, source)) for name in names]
        rows.append([source, *(both(c.median, c.mean) if c else "–" for c in found)])
    columns = ["estimate of", *(name.removeprefix(LEAK) for name in names)]
    note = "Energy of each reference's part in an estimate over that reference's own, in dB."
    return Table(
        "Leaks: how much of each source is in the model's estimates", columns, rows, [note]
    )


def _facts(record: RunRecord) -> list[str]:
    passport = record.passport
    hardware = passport.get("hardware") or {}
    machine = ", ".join(hardware.get("gpus") or []) or f"{hardware.get('cores', '?')} CPU cores"
    best = passport.get("best") or {}
    parameters, macs, training, factor, peak = costs(record)
    facts = [
        f"command: `{command(record)}`",
        f"seed: {record.seed}; {_status(record)}commit: {passport.get('commit') or 'unknown'}",
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


def _status(record: RunRecord) -> str:
    """A run writes its own report before it is over: "running" would stay there for ever."""
    status = record.passport.get("status", "unknown")
    return "" if status == "running" else f"status: {status}; "


def _model_table(scores: Scores, metrics: Sequence[str]) -> Table:
    shown = [*sources(scores), ALL] if len(sources(scores)) > 1 else sources(scores)
    cells = {(c.metric, c.source): c for c in summary(scores, metrics) if c.system == "model"}
    rows = []
    for metric in metrics:
        if not metric.startswith(LEAK):
            found = [cells.get((metric, source)) for source in shown]
            name = f"{metric} ({unit(metric)})" if unit(metric) else metric
            rows.append([name, *(both(c.median, c.mean) if c else "–" for c in found)])
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
    titles = {"SDR": "SDR in dB (BSSEval v4, framewise)", "uSDR": "uSDR in dB (whole track)"}
    return titles.get(metric, f"{metric} in {unit(metric)}" if unit(metric) else metric)


def _cells(metric: str) -> str:
    size = f", in {unit(metric)}" if unit(metric) else ""
    return f"Every cell is median / mean over tracks{size}."


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
