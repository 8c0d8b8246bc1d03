"""`evaluate --tones`: which systems the words name, and what is written."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from tiny_runs import SONGS, sepexp

from sepexp import build
from sepexp.cli.compose import compose, plain
from sepexp.cli.tones import systems
from sepexp.errors import UserError

TINY = ["model=demucs_small", "model.width=4", "model.depth=2"]


def test_words_without_commas_are_one_config() -> None:
    (only,) = systems(TINY)
    assert only.overrides == TINY and only.checkpoint is None
    assert only.name == "model=demucs_small width=4 depth=2"


def test_commas_compare_and_name_what_differs() -> None:
    found = systems([*TINY, "model.upsampling=transposed,nearest", "model.kernel=8,4"])
    assert [system.name for system in found] == [
        f"upsampling={kind} kernel={taps}" for kind in ("transposed", "nearest") for taps in (8, 4)
    ]
    assert found[0].overrides == [*TINY, "model.upsampling=transposed", "model.kernel=8"]


def test_commas_inside_a_list_compare_nothing() -> None:
    (only,) = systems(["model=wavenet_small", "model.dilations=[1,2,4]"])
    assert only.overrides[1] == "model.dilations=[1,2,4]"


def test_bare_names_and_quoted_words_are_configs_of_their_own() -> None:
    found = systems(["demucs_small", "model=wave_u_net_small model.levels=4", *TINY])
    assert [system.overrides for system in found] == [
        ["model=demucs_small"], ["model=wave_u_net_small", "model.levels=4"], TINY,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["demux"], "neither a run folder"),
        (["demucs_small", "demucs_small"], "named twice"),
        (["model=demucs_small", "model.depth=[1"], "can't be read"),
    ],
)
def test_words_that_mean_nothing_are_refused(words: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        systems(words)


def test_configs_side_by_side(tmp_path: Path) -> None:
    out = tmp_path / "study"
    said = sepexp(
        tmp_path, "evaluate", "--tones", *TINY, "model.upsampling=transposed,nearest",
        "--seeds", "2", "--out", str(out),
    )  # fmt: skip
    assert "ones: upsampling=nearest" in said and "11,025 Hz" in said
    table = (out / "tones.md").read_text()
    assert table.count("| noise: ") == 2
    with (out / "tones.csv").open() as file:
        rows = list(csv.DictReader(file))
    totals = {
        (row["system"], row["repeat"]): float(row["decibels"])
        for row in rows
        if row["measurement"] == "ones" and not row["hertz"]
    }
    assert len(totals) == 4
    assert min(totals["upsampling=transposed", seed] for seed in "12") > -40
    assert max(totals["upsampling=nearest", seed] for seed in "12") < -90
    assert (out / "tones.png").read_bytes()[:4] == b"\x89PNG"


def test_a_run_is_measured_into_its_own_folder(song_cache: Path, tmp_path: Path) -> None:
    config = plain(compose([*TINY, *SONGS, "data.corpus.test_seconds=6"]))
    torch.manual_seed(0)
    model = build.model(config)
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "run.json").write_text("{}")
    state = {f"model.{key}": value for key, value in model.state_dict().items()}
    content = {"sepexp": {"config": config, "targets": config["targets"]}, "state_dict": state}
    torch.save(content, run / "checkpoints" / "best.ckpt")
    sepexp(song_cache, "evaluate", str(run), "--tones", "--songs")
    with (run / "tones" / "tones.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["repeat"] for row in rows} == {"1"}
    assert len({row["hertz"] for row in rows} - {""}) == 2  # two layers
    heard = [float(row["decibels"]) for row in rows if row["measurement"] == "pauses"]
    assert len(heard) == 2 and heard[0] > 3  # untrained: its tones stand out where a stem pauses


def test_mistakes_end_in_a_sentence(tmp_path: Path) -> None:
    said = sepexp(tmp_path, "evaluate", "--tones", "open_unmix_small", "--seeds", "1", code=2)
    assert "no decoder that raises a rate" in said
    said = sepexp(tmp_path, "evaluate", "--tones", *TINY, "model.dept=3", code=2)
    assert "dept" in said
    assert "seeds" in sepexp(tmp_path, "evaluate", "--tones", *TINY, "--seeds", "0", code=2)
