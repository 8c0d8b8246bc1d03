"""The survey's table on real songs, from what runs left behind."""

from __future__ import annotations

import importlib
import math
from typing import Any

import pytest

from sepexp.cli.compose import recipes_dir
from sepexp.errors import UserError


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(recipes_dir() / "experiments" / "survey"))
    return importlib.import_module("leave_one_out")


def run(vocals: float, bass: float, mixture: float = -5.0) -> dict[str, Any]:
    """The model's scores; all of the mixture's are `mixture`, but none of a silent bass."""
    sdr = {"vocals": vocals, "drums": 1.0, "bass": bass, "other": 3.0}
    floor = dict.fromkeys(sdr, mixture) | ({"bass": math.nan} if math.isnan(bass) else {})
    rows = {"model": sdr, "IRM1": sdr} | dict.fromkeys(("mixture", "mixture/N"), floor)
    rows["near-silence"] = dict.fromkeys(sdr, -9.0)
    return {
        "curve": [[5, 1.0], [10, vocals]],
        "sdr": {row: found | {"all": -99.0} for row, found in rows.items()},
        "parameters": 1234,
        "steps": 10,
        "peak_memory_mb": 99,
    }


def test_means_are_over_the_songs_in_which_a_target_sounds(script: Any) -> None:
    songs = {"a": run(2.0, 5.0), "b": run(4.0, math.nan)}
    means = script.mean_over_songs(songs, "model")
    assert means == {"vocals": 3.0, "drums": 1.0, "bass": 5.0, "other": 3.0, "all": 3.0}
    faint = run(-60.0, 5.0)
    faint["sdr"]["mixture"]["vocals"] = -70.0
    assert script.mean_over_songs({"a": run(2.0, 5.0), "b": faint}, "model")["vocals"] == 2.0


def test_the_table_takes_the_songs_that_all_recipes_have(script: Any) -> None:
    results = {
        "band_mask": {"c": run(0.0, 0.0), "b": run(8.0, 5.0), "a": run(6.0, 5.0)},
        "drnn": {"a": run(2.0, 1.0), "b": run(2.0, 1.0)},
    }
    text = script.table(script.comparable(results))
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    # means of the songs: 3.75 and 4.25, 5 above the floor each, t(1) = 12.7 at 0.25
    scores = "| band_mask | 7.00 | 1.00 | 5.00 | 3.00 | 4.00 | +9.00 (+5.82 to +12.18) | 1,234 |"
    assert rows[1].startswith(scores) and rows[1].endswith(" | 99 |")
    assert rows[2].startswith("| drnn | 2.00 |") and rows[3].startswith("| *mixture* |")
    assert "Songs left out in turn: a; b." in text
    assert "vocals in 2, drums in 2, bass in 2, other in 2" in text


def test_recipes_without_a_common_song_have_no_table(script: Any) -> None:
    with pytest.raises(UserError, match="band_mask, drnn have no left-out song in common"):
        script.comparable({"band_mask": {"a": run(6.0, 5.0)}, "drnn": {"b": run(2.0, 1.0)}})


def test_a_song_in_which_nothing_sounds_is_left_out(script: Any) -> None:
    silent = run(0.0, 0.0, mixture=-60.0)
    songs = {"a": run(6.0, 5.0), "b": run(8.0, 5.0), "c": silent}
    assert script.advantage(songs, "near-silence") == "+13.00 (+9.82 to +16.18)"
    assert script.mean_over_songs(songs, "model")["vocals"] == 7.0
    with pytest.raises(UserError, match="no target sounds"):
        script.table({"band_mask": {"c": silent}})


def test_curves_are_means_over_the_songs(script: Any) -> None:
    assert script.mean_curve({"a": run(6.0, 5.0), "b": run(8.0, 5.0)}) == [[5, 1.0], [10, 7.0]]


def test_names_pass_hydras_grammar(script: Any) -> None:
    from sepexp.cli.compose import compose

    name = "MDN multi-track (no vocals), it's"
    config = compose(["data=folder", f"data.corpus.leave_out={script.quoted(name)}"])
    assert config.data.corpus.leave_out == name
