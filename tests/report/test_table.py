from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sepexp.errors import UserError
from sepexp.report.runs import open_runs
from sepexp.report.table import latex, markdown, short_report, sweep_table, terminal
from sepexp.report.text import Table, count, duration, number

MakeRun = Callable[..., Path]


def test_report_says_what_was_run_and_how_it_scored(make_run: MakeRun) -> None:
    run = make_run("first", overrides={"model.activation": "relu"}, level=5.0)
    text = short_report(run)
    assert "python -m sepexp model.activation=relu seed=1" in text
    for row in ("| mixture |", "| near-silence |", "| model |", "| IRM1 (oracle) |"):
        assert row in text
    # sources lie 0, 1, 2, 3 dB under the level, songs move all alike
    assert "5.0 dB above the best row that separates nothing" in text.replace("5.01 dB", "5.0 dB")
    assert "bass has no finite value in song 5" in text
    assert "window 1 s" in text and "musdb18 test, 6 tracks, list " in text
    assert "test songs: fingerprint ffff" in text and "SIR in dB" not in text
    assert "one seed" in text and "synthesised" not in text
    assert "SIR" in text and "1.04M parameters" in text


def test_report_of_demo_songs_says_what_they_cannot(make_run: MakeRun) -> None:
    data = {"data": {"name": "demo", "note": "made by rule", "fingerprint": {"test": "0"}}}
    text = short_report(make_run("demo", passport=data), card="- my own card")
    assert "say nothing about real music" in text and "made by rule" in text
    assert "- my own card" in text and "over tracks:" not in text


def test_a_run_chosen_on_test_songs_is_stamped_everywhere(make_run: MakeRun) -> None:
    run = make_run("leak", passport={"test_selection": ["song 1"]})
    make_run("clean", seed=2)
    assert "CHOSEN ON TEST SONGS" in short_report(run)
    assert "leak: CHOSEN ON TEST SONGS" in sweep_table([run.parent / "leak", run.parent / "clean"])


def test_sweep_shows_what_differs_and_survives_unfinished_runs(make_run: MakeRun) -> None:
    for index in range(11):
        choice = {"model.activation": "glu" if index % 2 else "relu", "loss": "x.L2"}
        run = make_run(f"sweep/{index}", seed=index, overrides=choice)
    (run / "scores.csv").unlink()
    (run / "run.json").write_text(json.dumps({"status": "failed", "seed": 10, "overrides": []}))
    text = sweep_table([run.parent], write=terminal)
    lines = [line.split() for line in text.splitlines()]
    assert lines[2][:3] == ["run", "model.activation", "seed"]  # all have one loss
    assert [line[0] for line in lines[4:15]] == [str(index) for index in range(11)]  # 10 after 9
    assert "10 (failed)" in text
    assert open_runs([run.parent])[3].name == "3: glu, seed 3"
    assert any(line[:1] == ["mixture"] for line in lines)


def test_different_songs_are_called_out(make_run: MakeRun) -> None:
    make_run("s/a")
    data = {"data": {"name": "musdb18", "fingerprint": {"test": "0" * 32}}}
    run = make_run("s/b", passport=data)
    assert "DIFFERENT SONGS" in sweep_table([run.parent])


def test_every_table_has_its_metric_card_and_names_what_differs(make_run: MakeRun) -> None:
    metric = {"backend": "museval", "window": 2.0, "hop": 1.0}
    make_run("s/a", seed=1)
    make_run("s/b", seed=2, passport={"tested": {"split": "test", "metric": metric}})
    folder = make_run("s/c", seed=3).parent
    text = sweep_table([folder], write=terminal).replace("\n    ", " ")
    assert "BSSEval v4 (museval 0.4.1)" in text and "window 1 s, hop 1 s" in text
    assert "over tracks: median / mean" in text and "MACs/s: multiply" in text
    assert "SCORED DIFFERENTLY" in text and "b: backend museval" in text
    with pytest.raises(UserError, match="metric FAD is in none .* SDR, SIR, uSDR"):
        sweep_table([folder], metric="FAD")


def test_the_songs_that_were_scored_count_not_those_of_the_training(make_run: MakeRun) -> None:
    make_run("s/a", seed=1)
    tested = {"split": "test", "fingerprint": "e" * 32, "metric": {"backend": "sepexp"}}
    folder = make_run("s/b", seed=2, passport={"tested": tested}).parent
    assert "DIFFERENT SONGS" in sweep_table([folder])


def test_other_scores_and_leaks_have_tables_of_their_own(make_run: MakeRun) -> None:
    run = make_run("more")
    with (run / "scores.csv").open("a") as file:
        for source in ("vocals", "drums"):
            file.write(f"x,model,song 1,{source},bleedless,,50\n")
            file.write(f"x,model,song 1,{source},leak of drums,,-20\n")
    text = short_report(run).replace("\\_", "_")
    assert "| bleedless | 50.00 / 50.00 | 50.00 / 50.00 |" in text and "| SIR (dB) |" in text
    assert "| estimate of | drums |" in text and "| vocals | -20.00 / -20.00 |" in text
    assert "100 / (1 + mean excess in dB" in text and "leak: energy" in text


def test_labels_are_short_and_tell_runs_apart(make_run: MakeRun) -> None:
    first, second = make_run("x/1/run"), make_run("y/1/run")
    assert [record.label for record in open_runs([first, second])] == ["x/1/run", "y/1/run"]
    assert [record.label for record in open_runs([first, first])] == ["run"]
    with pytest.raises(UserError, match="holds no run"):
        open_runs([first.parent.parent.parent / "nowhere"])
    (first / "run.json").write_text("{")
    with pytest.raises(UserError, match="can't be read"):
        open_runs([first])


def test_names_cannot_break_out_of_a_table() -> None:
    table = Table("t", ["a|b", "n"], [["x|y`*<b>", "1"], ["50% $x_1$ \\", "–"], ["\x1b[31m", "2"]])
    for line in markdown(table).splitlines()[2:]:
        assert line.replace("\\\\", "").replace("\\|", "").count("|") == 3
    assert "<b>" not in markdown(table)
    assert r"50\% \$x\_1\$ \textbackslash{}" in latex(table)
    assert "\x1b" not in terminal(table) + markdown(table) + latex(table)


def test_terminal_aligns_numbers_right_and_wide_letters() -> None:
    table = Table("", ["name", "value"], [["短い", "1.00"], ["long name", "-10.00"]])
    lines = terminal(table).splitlines()
    assert lines[0] == "name        value"
    assert lines[2] == "短い         1.00"  # a wide letter takes two columns
    assert lines[3] == "long name  -10.00"


def test_numbers() -> None:
    assert number(-0.001) == "0.00" and number(float("nan")) == "–" and number(-1.005) == "-1.00"
    assert [count(value) for value in (265679496, 980, 2.5e9)] == ["265.68M", "980", "2.50G"]
    assert [duration(s) for s in (59, 600, 40000)] == ["59 s", "10 min", "11.1 h"]


def test_reports_import_no_torch(make_run: MakeRun) -> None:
    run = make_run("a")
    code = (
        "import sys; from sepexp.report.table import short_report; import sepexp.report.page;"
        "import sepexp.report.survey, sepexp.report.figures;"
        f"short_report({str(run)!r}); assert 'torch' not in sys.modules;"
        "assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
