from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sepexp.report import figures
from sepexp.report.runs import RunRecord, open_runs, read_curves

MakeRun = Callable[..., Path]


@pytest.fixture
def sweep(make_run: MakeRun) -> list[RunRecord]:
    for index, (activation, seed) in enumerate((a, s) for a in ("glu", "relu") for s in (1, 2)):
        run = make_run(
            f"sweep/{index}", seed=seed, level=5.0 + seed,
            overrides={"model.activation": activation},
            passport={"macs": 2e9 if activation == "glu" else 1e9},
        )  # fmt: skip
    return open_runs([run.parent])


def test_seeds_of_a_setting_are_one_entry(sweep: list[RunRecord], make_run: MakeRun) -> None:
    names = figures.settings(sweep)
    assert [(name, len(runs)) for name, runs in names.items()] == [
        ("glu (2 seeds)", 2), ("relu (2 seeds)", 2),
    ]  # fmt: skip
    single = open_runs([make_run("one")])
    assert list(figures.settings(single)) == ["one"]


def test_boxes_hold_a_dot_a_track_and_not_a_seed(sweep: list[RunRecord]) -> None:
    axis = figures.runs_boxes(sweep).axes[0]
    dots = [line.get_ydata() for line in axis.lines if line.get_marker() == "."]
    assert len(dots) == 8 and {len(np.asarray(y)) for y in dots} == {5, 6}  # bass pauses in one


def test_curves_have_a_line_a_seed_and_a_colour_a_setting(sweep: list[RunRecord]) -> None:
    figure = figures.runs_curves(sweep)
    assert figure is not None
    lines = figure.axes[0].lines
    assert len(lines) == 4 and len({line.get_color() for line in lines}) == 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "glu (2 seeds)", "relu (2 seeds)",
    ]  # fmt: skip


def test_cost_has_a_point_a_setting_and_a_whisker_over_its_seeds(sweep: list[RunRecord]) -> None:
    figure = figures.pareto(sweep, metric="uSDR")
    assert figure is not None
    axis = figure.axes[0]
    assert {text.get_text() for text in axis.texts} == set(figures.settings(sweep))
    assert axis.get_ylabel() == "uSDR (dB), mean over tracks"
    low, high = axis.collections[1].get_segments()[0][:, 1]
    assert high - low == pytest.approx(1.0, abs=0.01)  # levels 6 and 7
    assert figures.pareto(sweep[:2]) is None


def test_curves_are_means_of_an_epoch(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,train/loss\n0,1,1.0\n0,2,3.0\n1,3,0.5\n")
    assert read_curves(path) == {"train/loss": ([0.0, 1.0], [2.0, 0.5])}
