"""The long table in one file, read back by others."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sepexp.errors import UserError
from sepexp.report.export import export
from sepexp.report.runs import open_runs
from sepexp.report.scores import read_scores

MakeRun = Callable[..., Path]


def test_csv_holds_all_runs_under_their_labels(make_run: MakeRun, tmp_path: Path) -> None:
    records = open_runs([make_run("s/a", seed=1), make_run("s/b", seed=2)])
    path = export(records, tmp_path / "out" / "all.csv")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["run"] for row in rows} == {"a", "b"}
    assert (
        sum(row["run"] == "b" for row in rows)
        == len((records[1].folder / "scores.csv").read_text().splitlines()) - 1
    )
    assert {row["frame"] == "" for row in rows if row["metric"] == "uSDR"} == {True}
    whole = read_scores(path)
    for key, values in records[0].scores.items():
        assert whole[key].tolist() == pytest.approx(values.tolist(), nan_ok=True)


def test_parquet_equals_csv(make_run: MakeRun, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    records = open_runs([make_run("s/a")])
    table = parquet.read_table(export(records, tmp_path / "all.parquet")).to_pylist()
    with export(records, tmp_path / "all.csv").open(newline="") as file:
        for mine, other in zip(table, csv.DictReader(file), strict=True):
            assert [mine[k] for k in ("run", "system", "track", "source", "metric")] == [
                other[k] for k in ("run", "system", "track", "source", "metric")
            ]
            assert mine["frame"] == (int(other["frame"]) if other["frame"] else None)
            value = float(other["value"])
            assert mine["value"] == value or (math.isnan(value) and math.isnan(mine["value"]))


def test_says_what_is_missing(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = open_runs([make_run("a")])
    with pytest.raises(UserError, match=r"end in .csv or .parquet"):
        export(records, tmp_path / "all.xlsx")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"sepexp\[parquet\]"):
        export(records, tmp_path / "all.parquet")
    (records[0].folder / "scores.csv").unlink()
    with pytest.raises(UserError, match="no scores to export"):
        export(open_runs([records[0].folder]), tmp_path / "all.csv")
