"""museval's stores read our files and come to the numbers that museval's own files give."""

from __future__ import annotations

import json
import math
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from sepexp.errors import UserError
from sepexp.metric.bsseval import Scores
from sepexp.metric.museval_backend import load_museval
from sepexp.metric.museval_json import read_track, track_scores, write_track

NAMES = ["drums", "vocals"]


@pytest.fixture
def tables() -> dict[str, Scores]:
    rng = np.random.default_rng(0)
    tracks = {f"track {index}.v1": 20 * rng.standard_normal((4, 2, 7)) for index in range(4)}
    tracks["track 0.v1"][:, 1, 3] = math.nan
    tracks["track 1.v1"][0, 0, 2] = math.inf
    tracks["track 2.v1"][:, 1] = math.nan
    tracks["track 3.v1"][0, 0, 0] = 0.000005  # half a step: rounding matters
    return {name: Scores(*values) for name, values in tracks.items()}


def museval_track(name: str, scores: Scores) -> object:
    track = load_museval().TrackStore(name, win=1.0, hop=0.5)
    for source, target in enumerate(NAMES):
        values = {key.upper(): getattr(scores, key)[source] for key in scores._fields}
        track.add_target(target, values)
    return track


@pytest.mark.parametrize("frames_agg", ["median", "mean"])
@pytest.mark.parametrize("tracks_agg", ["median", "mean"])
def test_stores_aggregate_to_the_same_numbers(
    tmp_path: Path, tables: dict[str, Scores], frames_agg: str, tracks_agg: str
) -> None:
    museval = load_museval()
    ours, theirs = (museval.EvalStore(frames_agg, tracks_agg) for _ in range(2))
    for name, scores in tables.items():
        write_track(tmp_path, "test", name, NAMES, scores, 1.0, 0.5)
        theirs.add_track(museval_track(name, scores))
    ours.add_eval_dir(tmp_path)
    left, right = ours.agg_frames_tracks_scores(), theirs.agg_frames_tracks_scores()
    assert len(left) == 8 and left.index.equals(right.index)
    np.testing.assert_array_equal(left.to_numpy(dtype=float), right.to_numpy(dtype=float))
    assert sorted(ours.df["track"].unique()) == sorted(tables)


def test_content_is_museval_s(tables: dict[str, Scores]) -> None:
    for name, scores in tables.items():
        ours = track_scores(NAMES, scores, 1.0, 0.5)
        theirs = json.loads(museval_track(name, scores).json)  # type: ignore[attr-defined]
        assert json.dumps(ours) == json.dumps(theirs)
        schema = museval_track(name, scores).schema  # type: ignore[attr-defined]
        jsonschema.validate(ours, schema)


def test_round_trip(tmp_path: Path, tables: dict[str, Scores]) -> None:
    scores = tables["track 1.v1"]
    path = write_track(tmp_path, "test", "AC/DC", NAMES, scores, 1.0, 1.0)
    assert path == tmp_path / "test" / "AC_DC.json"
    back = read_track(path)
    assert list(back) == NAMES
    assert math.isnan(back["drums"]["SDR"][2])
    np.testing.assert_allclose(back["vocals"]["SAR"], scores.sar[1], atol=5.1e-6)


def test_refuses_other_files_and_names(tmp_path: Path, tables: dict[str, Scores]) -> None:
    with pytest.raises(UserError, match="names"):
        track_scores(["drums"], tables["track 0.v1"], 1.0, 1.0)
    (tmp_path / "a.json").write_text('{"targets": [{"frames": []}]}')
    with pytest.raises(UserError, match="museval"):
        read_track(tmp_path / "a.json")
