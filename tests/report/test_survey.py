from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sepexp.report.published import ABLATION, METHODS, SIZES
from sepexp.report.runs import open_runs
from sepexp.report.survey import is_run_of, own_score, survey_tables
from sepexp.report.text import terminal

MakeRun = Callable[..., Path]


def test_published_averages_are_those_of_their_rows() -> None:
    """A slip of the pen in a table of others would show here; 0.02 is their rounding."""
    for row in (*ABLATION, *SIZES):
        *parts, average = row.scores
        if None not in parts:
            assert sum(parts) / 4 == pytest.approx(average, abs=0.02), row.name


def test_published_ablation_is_the_surveys() -> None:
    by_name = {row.name: row.scores[-1] for row in ABLATION}
    assert by_name["no initial weight rescaling"] == 4.94
    assert by_name["no BiLSTM"] == 5.12
    assert by_name["ReLU instead of GLU"] == 5.19
    assert by_name["MSE loss"] == 5.55
    assert by_name["reference, 100 channels"] == 5.58


def test_own_counts_and_scores_stand_beside(make_run: MakeRun) -> None:
    choice = {"model": "demucs_100", "model.activation": "relu"}
    for seed in (1, 2):
        run = make_run(f"s/{seed}", seed=seed, overrides=choice, level=5.0)
    records = open_runs([run.parent])
    counts = {"demucs_100": 648548208}
    tables = survey_tables(records, lambda settings: counts.get(settings.get("model", "")))
    text = [terminal(table) for table in tables]
    row = next(line for line in text[0].splitlines() if line.startswith("ReLU instead"))
    assert "648.55M" in row and "(musdb18, 2 seeds)" in row
    assert next(line for line in text[0].splitlines() if line.startswith("no BiLSTM")).endswith("–")
    oracle = next(line for line in text[2].splitlines() if line.startswith("IRM oracle"))
    assert "(musdb18)" in oracle
    assert len(tables[1].rows) == len(METHODS) and "150 songs" in text[1]


def test_a_run_is_matched_by_all_its_choices(make_run: MakeRun) -> None:
    choice = {"model": "demucs", "optimizer.lr": "5e-4", "trainer.max_epochs": "3"}
    run, recipe, other = open_runs([
        make_run("a", overrides=choice),
        make_run("b", overrides={"experiments": "survey/open_unmix"}),
        make_run("c", overrides={"experiments": "mine/open_unmix"}),
    ])  # fmt: skip
    assert is_run_of(run, {"model": "demucs", "optimizer.lr": "0.0005"})
    assert not is_run_of(run, {"model": "demucs"})
    assert is_run_of(recipe, {"model": "open_unmix"})
    assert not is_run_of(other, {"model": "open_unmix"})
    assert own_score([run], {}) == "–"
