from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from sepexp.errors import UserError
from sepexp.report.scores import Key, by_track, read_scores, silences, summary, systems, track_value

HEADER = "run,system,track,source,metric,frame,value\n"


def _scores(values: dict[tuple[str, str, str], list[float]]):
    return {
        Key("r", system, track, source, "SDR"): np.array(frames)
        for (system, track, source), frames in values.items()
    }


def test_frames_by_nan_median_tracks_by_median_and_mean() -> None:
    nan = math.nan
    scores = _scores({
        ("model", "a", "vocals"): [1.0, nan, 3.0, 100.0],
        ("model", "b", "vocals"): [math.inf, 5.0],
        ("model", "c", "vocals"): [-20.0],
        ("model", "a", "bass"): [0.0],
        ("model", "b", "bass"): [nan, nan],
        ("model", "c", "bass"): [2.0],
    })  # fmt: skip
    cells = {cell.source: cell for cell in summary(scores)}
    assert (cells["vocals"].median, cells["vocals"].mean) == (3.0, -4.0)
    assert (cells["bass"].median, cells["bass"].mean, cells["bass"].tracks) == (1.0, 1.0, 2)
    assert cells["bass"].silent == ("b",)
    assert (cells["all"].median, cells["all"].mean) == (2.0, -1.5)
    assert by_track(scores)["r", "model", "all"] == {"a": 1.5, "b": 5.0, "c": -9.0}


def test_what_is_silent_for_all_systems_is_named_once() -> None:
    scores = _scores({
        ("model", "a", "bass"): [math.nan], ("mixture", "a", "bass"): [math.nan],
        ("model", "b", "bass"): [math.nan], ("mixture", "b", "bass"): [1.0],
    })  # fmt: skip
    assert silences(summary(scores)) == {"bass": ("a",)}
    cell = next(c for c in summary(scores) if c.system == "model")
    assert math.isnan(cell.median) and math.isnan(cell.mean) and cell.silent == ("a", "b")


def test_museval_aggregates_to_the_same_numbers(tmp_path: Path) -> None:
    """Median over frames and tracks, NaN skipped at both levels, through pandas as museval does."""
    pandas = pytest.importorskip("pandas")
    generator = np.random.default_rng(0)
    rows = []
    for track in range(7):
        for source in ("vocals", "bass"):
            for frame in range(9):
                value = generator.normal() if generator.random() > 0.3 and track != 3 else math.nan
                rows.append(("r", "model", f"t{track}", source, "SDR", frame, value))
    path = tmp_path / "scores.csv"
    path.write_text(HEADER + "".join(",".join(map(str, row)) + "\n" for row in rows))
    frame = pandas.DataFrame(rows, columns=HEADER.strip().split(","))
    tracks = frame.groupby(["track", "source"])["value"].median().reset_index()
    for cell in summary(read_scores(path)):
        if cell.source != "all":
            own = tracks[tracks["source"] == cell.source]["value"]
            assert cell.median == pytest.approx(own.median())
            assert cell.mean == pytest.approx(own.mean())


def test_reads_frames_in_order_and_whole_track_numbers(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(
        HEADER
        + "r,model,a,vocals,SDR,1,2.5\nr,model,a,vocals,SDR,0,nan\nr,model,a,vocals,uSDR,,3\n"
    )
    scores = read_scores(path, run="mine")
    assert scores[Key("mine", "model", "a", "vocals", "SDR")][1] == 2.5
    assert track_value(scores[Key("mine", "model", "a", "vocals", "uSDR")]) == 3.0


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("a,b\n", "has columns a, b: expected run"),
        (HEADER + "r,model,a,vocals,SDR,0,loud\n", "line 2 is .*loud"),
        (HEADER + "r,model,a,vocals,SDR\n", "line 2 is"),
        ("", "has columns"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=match):
        read_scores(path)
    with pytest.raises(UserError, match="is missing"):
        read_scores(tmp_path / "none.csv")


def test_floors_come_first_and_oracles_last() -> None:
    names = ("IRM1", "model", "mixture", "near-silence")
    scores = _scores({(name, "a", "bass"): [1.0] for name in names})
    assert systems(scores) == ["mixture", "near-silence", "model", "IRM1"]
