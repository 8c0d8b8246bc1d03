"""The Demucs study's table from a finished sweep, beside the published rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from experiments import study
from experiments.demucs_ablation.table import (
    CHOICE,
    PUBLISHED,
    ablation_table,
    main,
    rows,
)
from sepexp.errors import UserError
from sepexp.report.published import ABLATION
from sepexp.report.runs import RunRecord, open_runs
from sepexp.report.study import arms_table, track_means

CURVES = "epoch,step,valid/l1,valid/sdr\n0,1,0.5,1\n1,2,{low},2\n2,3,0.4,3\n"


@pytest.fixture
def sweep(make_run: Callable[..., Path]) -> list[Path]:
    """Two arms of three seeds: without rescaling 1 dB worse, so as published."""
    folders = []
    for arm, level, changes in (
        ("reference", 5.0, {"model.rescale": "0.1"}),
        ("no_rescaling", 4.0, {"model.rescale": "0"}),
    ):
        for seed in (1, 2, 3):
            folder = make_run(f"{arm}{seed}", seed=seed, level=level, overrides=changes)
            passport = (folder / "run.json").read_text()
            passport = passport.replace('"overrides": [', f'"overrides": ["{CHOICE}={arm}", ')
            (folder / "run.json").write_text(passport)
            (folder / "metrics.csv").write_text(CURVES.format(low=f"0.0{seed}"))
            folders.append(folder)
    return folders


def test_every_arm_names_a_published_row() -> None:
    assert set(PUBLISHED.values()) <= {row.name for row in ABLATION}


def test_the_rows_hold_every_seed(sweep: list[Path]) -> None:
    found = {row.arm: row for row in rows(open_runs(sweep))}
    assert list(found) == ["reference", "no_rescaling"]
    assert found["reference"].valid == [0.01, 0.02, 0.03]  # the lowest, not the last
    low, high = min(found["reference"].sdr), max(found["no_rescaling"].sdr)
    assert 0.5 < low - high < 1.5


def test_the_table_says_difference_direction_and_what_was_published(sweep: list[Path]) -> None:
    table = ablation_table(open_runs(sweep))
    reference, other = table.rows
    assert reference[0] == "reference" and other[0] == "no initial weight rescaling"
    assert other[1] == "3" and other[2] == "0.02000 (0.01000 to 0.03000)"
    assert float(other[4].split()[0]) == pytest.approx(-1.0, abs=0.2)
    assert other[5] == "as published"
    assert other[6:] == ["0.1716", "4.94", "-0.64"]
    assert "80 %" in table.notes[-1]


def test_the_sign_does_not_depend_on_the_order_of_the_runs(sweep: list[Path]) -> None:
    forth = ablation_table(open_runs(sweep)).rows[1]
    back = ablation_table(open_runs(sweep[::-1])).rows[1]
    assert forth[4:6] == back[4:6]


def test_the_figure_averages_seeds_by_track(sweep: list[Path]) -> None:
    found = track_means(open_runs(sweep), CHOICE, "SDR")
    assert {len(tracks) for tracks in found["vocals"].values()} == {6}
    assert list(found["vocals"]) == ["reference", "no_rescaling"]


def test_runs_without_a_reference_are_refused(sweep: list[Path]) -> None:
    records: list[RunRecord] = open_runs(sweep[3:])
    with pytest.raises(UserError, match="reference"):
        rows(records)


@pytest.fixture
def say(
    sweep: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> Callable[..., str]:
    """Run a script's main on the sweep, or on other folders, and return what it prints."""

    def run(script: Callable[[], None], *options: str, runs: list[Path] = sweep) -> str:
        monkeypatch.setattr("sys.argv", ["script.py", *map(str, runs), *options])
        script()
        return capsys.readouterr().out

    return run


def test_the_script(say: Callable[..., str], tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    said = say(main, "--figure", str(picture))
    assert "no initial weight rescaling" in said
    assert said.count("\n* ") == 1 and "model.rescale 0.1 against 0" in said
    assert picture.stat().st_size > 1000


def test_a_study_folds_seeds_and_keeps_the_reference_rows(sweep: list[Path]) -> None:
    table = arms_table(open_runs(sweep), CHOICE, "SDR")
    rows = {row[0]: row for row in table.rows}
    assert list(rows)[:2] == ["reference", "no_rescaling"] and "mixture" in rows
    assert [rows[arm][1] for arm in ("reference", "no_rescaling", "mixture")] == ["3", "3", "–"]
    column = table.columns.index("all")
    worse = float(rows["reference"][column]) - float(rows["no_rescaling"][column])
    assert worse == pytest.approx(1.0, abs=0.2)
    low, high = map(float, rows["reference"][-1].split(" to "))
    assert low <= float(rows["reference"][column]) <= high
    with pytest.raises(UserError, match="has model.width= on its command line"):
        arms_table(open_runs(sweep), "model.width", "SDR")
    with pytest.raises(UserError, match="has no ISR"):
        arms_table(open_runs(sweep), CHOICE, "ISR")


def test_the_study_script(say: Callable[..., str], tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    said = say(study.main, "--choice", CHOICE, "--figure", str(picture))
    assert "rescaling | 3 |" in said and "\n* model.rescale 0.1 against 0" in said
    assert picture.stat().st_size > 1000
    with pytest.raises(SystemExit, match="holds no run"):
        say(study.main, "--choice", CHOICE, runs=[tmp_path / "none"])
