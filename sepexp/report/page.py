"""One folder with a page: sortable tables, figures, and players that switch at the same instant.

It needs no network and no server. Names of songs, runs and settings come from strangers' folders,
so every one is escaped, and no file of the page is named after them.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sepexp import plot
from sepexp.errors import UserError
from sepexp.report import figures
from sepexp.report.arms import judge, verdict_table
from sepexp.report.excerpts import Excerpt, find_excerpts, read_excerpt, sdr_over_time
from sepexp.report.runs import RunRecord, command
from sepexp.report.table import DEMO, default_card, reading, runs_table, score_table
from sepexp.report.text import Table, count, duration, numeric

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HERE = Path(__file__).parent
POINTS = 300  # bars of a player's waveform
PICTURED = 4  # runs whose spectrograms are drawn; more would make pages of pictures


def write_page(
    records: Sequence[RunRecord], out: Path, *, songs: int = 3, metric: str = "SDR"
) -> Path:
    """Write the page of some runs.

    Args:
        records: The runs.
        out: A new or empty folder, or that of an earlier page.
        songs: How many songs to listen to.
        metric: Which metric of the score tables.

    Returns:
        The path of index.html.

    Raises:
        UserError: The folder holds something else, or no run has scores.
    """
    tested = [record for record in records if record.has_scores]
    if not tested:
        raise UserError("none of these runs was tested, so there is nothing to show on a page")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: name a new folder for the page")
    if out.is_dir() and any(out.iterdir()) and not (out / "page.js").is_file():
        raise UserError(f"{out} holds other files: name a new or empty folder for the page")
    page = _Page(out)
    body = [
        _head(records),
        _scores(records, tested, metric),
        _verdicts(records, metric),
        _figures(page, tested, metric),
        _listen(page, tested, songs),
        _runs(records, tested),
    ]
    for name in ("page.css", "page.js"):
        (out / name).write_text((HERE / name).read_text(encoding="utf-8"), encoding="utf-8")
    index = out / "index.html"
    index.write_text(_html(_title(records), "\n".join(filter(None, body))), encoding="utf-8")
    return index


class _Page:
    """The folder; hands out file names that owe nothing to any run's or song's name."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.known: dict[bytes, str] = {}  # a song's mixture stands in a player a target: one file
        for part in ("figures", "audio"):
            (out / part).mkdir(parents=True, exist_ok=True)
            for old in (out / part).iterdir():
                if re.fullmatch(r"\d+\.(png|js)", old.name):
                    old.unlink()

    def figure(self, figure: Figure, caption: str) -> str:
        name = f"figures/{len(list((self.out / 'figures').iterdir()))}.png"
        plot.save(figure, self.out / name)
        text = escape(caption)
        return (
            f'<figure><img src="{name}" alt="{text}" loading="lazy">'
            f"<figcaption>{text}</figcaption></figure>"
        )

    def audio(self, array: np.ndarray, rate: int) -> str:
        import soundfile

        key = hashlib.sha256(array.tobytes()).digest()
        if key in self.known:
            return self.known[key]
        data = io.BytesIO()
        soundfile.write(data, array.T, rate, format="FLAC", subtype="PCM_16")
        name = f"audio/{len(list((self.out / 'audio').iterdir()))}.js"
        text = base64.b64encode(data.getvalue()).decode()
        (self.out / name).write_text(f'sepexpAudio("{name}", "{text}");\n')
        self.known[key] = name
        return name


def _head(records: Sequence[RunRecord]) -> str:
    stamps = "".join(f'<p class="stamp">{escape(r.stamped)}</p>' for r in records if r.stamped)
    data = ", ".join(dict.fromkeys(record.data or "unknown data" for record in records))
    kinds = len(figures.settings(records))
    lead = f"{len(records)} run{'s' if len(records) != 1 else ''}"
    lead += f" of {kinds} settings" if 1 < kinds < len(records) else ""
    lead += f", tested on {data}"
    demo = any("demo" in record.data.lower() for record in records)
    note = f'<p class="note">{escape(DEMO)}</p>' if demo else ""
    links = ("scores", "verdicts", "figures", "listen", "runs")
    nav = "".join(f'<a href="#{link}">{link}</a>' for link in links)
    return (
        f"<header><h1>{escape(_title(records))}</h1>"
        f'<p class="lead">{escape(lead)}</p><nav>{nav}</nav>{note}{stamps}</header>'
    )


def _title(records: Sequence[RunRecord]) -> str:
    return f"Run {records[0].label}" if len(records) == 1 else f"Comparison of {len(records)} runs"


def _scores(records: Sequence[RunRecord], tested: Sequence[RunRecord], metric: str) -> str:
    if len(records) == 1:
        parts = [table_html(score_table(tested[0].scores, metric))]
        parts.append(f"<p>{escape(reading(tested[0].scores))}</p>")
        parts.append(_card(tested[0]))
    else:
        parts = [table_html(runs_table(records, metric))]
    return _section("scores", "Scores", parts)


def _verdicts(records: Sequence[RunRecord], metric: str) -> str:
    if len(records) < 2:
        return _section(
            "verdicts", "Verdicts", ["<p>One run alone has nothing to be compared with.</p>"]
        )
    table, lines = verdict_table(judge(records, metric))
    items = "".join(f"<li>{_coloured(line)}</li>" for line in lines)
    parts = [f'<ul class="verdicts">{items}</ul>' if items else ""]
    return _section("verdicts", "Verdicts", [*parts, table_html(table)])


def _coloured(line: str) -> str:
    text = escape(line)
    for word in ("better", "worse"):
        if text.endswith(f": {word}"):
            return f'{text.removesuffix(word)}<span class="{word}">{word}</span>'
    return text


def _figures(page: _Page, tested: Sequence[RunRecord], metric: str) -> str:
    drawn: list[tuple[Figure | None, str]] = []
    if len(tested) == 1:
        boxes = figures.run_boxes(tested[0].scores, metric)
        what = "every track, by source and system"
        for name, figure in figures.run_curves(tested[0]).items():
            drawn.append((figure, f"Learning curves of the run: {name}."))
    else:
        boxes = figures.runs_boxes(tested, metric)
        what = "every track (mean over seeds), by source and setting"
        drawn.append((figures.runs_curves(tested), "Validation score over epochs, a line a seed."))
        seeds = "a whisker spans the seeds, the line is the Pareto front (mean over seeds)"
        costs = {
            "macs": "computation", "parameters": "size", "real_time_factor": "time to separate"
        }  # fmt: skip
        for cost, name in costs.items():
            drawn.append((figures.pareto(tested, cost, metric), f"Score and {name}; {seeds}."))
    parts = [page.figure(figure, caption) for figure, caption in drawn if figure is not None]
    caption = (
        f"{metric} of {what}. A box holds the middle half of the tracks, its line is the median, "
        "the diamond the mean, a dot a track."
    )
    first = page.figure(boxes, caption)
    return _section("figures", "Figures", [first, f'<div class="figures">{"".join(parts)}</div>'])


def _listen(page: _Page, tested: Sequence[RunRecord], songs: int) -> str:
    parts, last = [], None
    for excerpt in find_excerpts(tested, songs):
        if excerpt.song != last:
            parts.append(f"<h3>{escape(excerpt.song)}</h3>")
            last = excerpt.song
        parts.append(_player(page, excerpt))
    if not parts:
        return _section(
            "listen", "Listen", ["<p>These runs kept no audio of their test songs.</p>"]
        )
    hint = (
        "All versions run at the same instant; a click, or the keys 1, 2, 3, switches between "
        "them. Within a player all have the same gain."
    )
    return _section("listen", "Listen", [f'<p class="note">{escape(hint)}</p>', *parts])


def _player(page: _Page, excerpt: Excerpt) -> str:
    arrays, rate = read_excerpt(excerpt)
    peak = max(float(np.abs(array).max(initial=0.0)) for array in arrays.values())
    scale = 0.99 / peak if peak > 0.99 else 1.0
    files = [page.audio(scale * array, rate) for array in arrays.values()]
    loudest = max(peak, 1e-9)
    buttons = [
        f'<button type="button" class="version" data-shape="{escape(_shape(array / loudest))}">'
        f"{escape(label)}</button>"
        for label, array in arrays.items()
    ]
    seconds = arrays["truth"].shape[-1] / rate
    listed = escape(json.dumps(files))
    return (
        f'<div class="player" data-files="{listed}" data-duration="{seconds:.4f}"><header>'
        f'<h4>{escape(excerpt.target)}</h4><button type="button" class="play">▶ Play</button>'
        f'{"".join(buttons)}<span class="time"></span></header>'
        f"<canvas></canvas>{_pictures(page, excerpt, arrays, rate)}</div>"
    )


def _pictures(page: _Page, excerpt: Excerpt, arrays: dict[str, np.ndarray], rate: int) -> str:
    runs = [label for label in arrays if label not in ("mixture", "truth")][:PICTURED]
    truth = arrays["truth"]
    curves = {label: sdr_over_time(truth, arrays[label], rate) for label in runs}
    parts = [
        page.figure(
            plot.scores_over_time_figure(truth, rate, curves),
            f"SDR of every second, above the waveform of the true {excerpt.target}.",
        )
    ]
    for label in runs:
        shown = {"truth": truth, "estimate": arrays[label], "error": arrays[label] - truth}
        parts.append(
            page.figure(
                plot.spectrogram_figure(shown, rate),
                f"{excerpt.target}: truth, estimate of {label}, and error on one scale.",
            )
        )
    body = "".join(parts)
    return f"<details><summary>SDR over time, spectrograms</summary>{body}</details>"


def _shape(array: np.ndarray) -> str:
    """The waveform's outline, 0 to 1, as a list in JSON."""
    blocks = np.array_split(np.abs(array).max(0), min(POINTS, array.shape[-1]))
    return json.dumps([round(float(block.max()), 3) for block in blocks])


def _runs(records: Sequence[RunRecord], tested: Sequence[RunRecord]) -> str:
    parts = []
    for record in records:
        passport = record.passport
        facts = {
            "command": command(record),
            "status": str(passport.get("status", "unknown")),
            "seed": str(record.seed),
            "commit": str(passport.get("commit") or "unknown"),
            "model": str(passport.get("model", "unknown")),
            "parameters": count(record.fact("parameters")),
            "training": duration(record.fact("train_seconds")),
            "data": record.data,
            "hardware": json.dumps(passport.get("hardware", {})),
            "versions": json.dumps(passport.get("versions", {})),
        }
        items = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts.items())
        parts.append(
            f"<details><summary>{escape(record.label)}</summary><dl>{items}</dl></details>"
        )
    if len(records) > 1:
        parts.append(_card(tested[0]))
    return _section("runs", "Runs", parts)


def _card(record: RunRecord) -> str:
    lines = default_card(record).splitlines()
    items = "".join(f"<li>{escape(line.removeprefix('- '))}</li>" for line in lines)
    return f'<h3>What the numbers are</h3><ul class="notes">{items}</ul>'


def table_html(table: Table) -> str:
    """A sortable table; cells sort by their first number, dashes last."""
    right = numeric(table)
    kinds = [' class="number"' if number else "" for number in right]
    heads = "".join(
        f'<th scope="col"{kind}><button type="button">{escape(name)}</button></th>'
        for name, kind in zip(table.columns, kinds, strict=True)
    )
    rows = []
    for row in table.rows:
        cells = (
            f'<td{kind} data-value="{escape(_sort_value(cell, number))}">{escape(cell)}</td>'
            for cell, kind, number in zip(row, kinds, right, strict=True)
        )
        rows.append(f"<tr>{''.join(cells)}</tr>")
    notes = "".join(f"<li>{escape(note)}</li>" for note in table.notes)
    return (
        f'<div class="scroll"><table class="sortable"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        + (f'<ul class="notes">{notes}</ul>' if notes else "")
    )


def _sort_value(cell: str, number: bool) -> str:
    if not number:
        return cell
    found = re.match(r"([+-]?\d+(?:\.\d+)?)\s*(k|M|G|T|s|min|h)?\b", cell)
    if not found:
        return ""
    units = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "min": 60.0, "h": 3600.0}
    return repr(float(found[1]) * units.get(found[2] or "", 1.0))


def _section(name: str, title: str, parts: Iterable[str]) -> str:
    return f'<section id="{name}"><h2>{title}</h2>{"".join(parts)}</section>'


def _html(title: str, body: str) -> str:
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<link rel="stylesheet" href="page.css">
</head>
<body>
{body}
<script src="page.js"></script>
</body>
</html>
"""
