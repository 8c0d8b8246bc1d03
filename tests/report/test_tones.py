"""The upsampling study's table, numbers and picture from known measurements."""

from __future__ import annotations

import csv
import io

import numpy as np

from sepexp.metric.tones import Tones
from sepexp.report.tones import tones_csv, tones_figure, tones_table

NAN = float("nan")


def measured(ones: list[float], rates: list[float] | None = None) -> Tones:
    rates = rates or [11025.0, 43.066]
    other = [0.0] * len(rates)
    return Tones(rates, ones, [NAN, *other[1:]], other, all_ones=max(ones), all_silence=-50.0)


FOUND = {
    "a $x": [measured([-20.0, -40.0]), measured([-10.0, -40.0]), measured([-18.0, -35.0])],
    "b": [measured([-120.0], [11025.0])],
}


def test_a_cell_is_the_median_and_a_dash_what_is_not_there() -> None:
    table = tones_table(FOUND)
    assert table.columns == ["measurement and system", "all", "11,025 Hz", "43.1 Hz"]
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["ones: a $x"] == ["-18.0", "-18.0", "-40.0"]
    assert rows["ones: b"] == ["-120.0", "-120.0", "–"]
    assert rows["noise: a $x"] == ["–", "–", "0.0"]


def test_pauses_stand_there_only_if_measured() -> None:
    assert not any(row[0].startswith("pauses") for row in tones_table(FOUND).rows)
    heard = {**FOUND, "b": [FOUND["b"][0]._replace(pauses=[12.0])]}
    rows = {row[0]: row[1:] for row in tones_table(heard).rows}
    assert rows["pauses: b"] == ["–", "12.0", "–"] and rows["pauses: a $x"] == ["–", "–", "–"]
    assert len(tones_figure(heard).axes) == 4
    assert "b,1,pauses,11025,12.0000" in tones_csv(heard)


def test_the_csv_has_every_repeat() -> None:
    rows = list(csv.DictReader(io.StringIO(tones_csv(FOUND))))
    ones = [r for r in rows if r["system"] == "a $x" and r["measurement"] == "ones"]
    assert [(r["repeat"], r["hertz"], float(r["decibels"])) for r in ones[:3]] == [
        ("1", "11025", -20.0), ("1", "43.066", -40.0), ("1", "", -20.0),
    ]  # fmt: skip
    assert len(ones) == 9


def test_lines_join_medians_and_bars_reach_the_extremes() -> None:
    figure = tones_figure(FOUND)
    axis = figure.axes[0]
    line = axis.containers[0]
    assert line.lines[0].get_ydata().tolist() == [-18.0, -40.0]
    bars = [segment[:, 1].tolist() for segment in line.lines[2][0].get_segments()]
    assert bars == [[-20.0, -10.0], [-40.0, -35.0]]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["43.1", "11,025"]
    first, second = (np.asarray(c.lines[0].get_xdata())[0] for c in axis.containers)
    assert first < 11025 < second  # side by side
    figure.canvas.draw()
