from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sepexp.cli.compose import compose, plain
from sepexp.report.arms import arms, judge, one_setting, verdict_table
from sepexp.report.runs import open_runs
from sepexp.report.text import markdown

MakeRun = Callable[..., Path]
UNMIX = "sepexp.model.open_unmix.OpenUnmix"


def _sweep(make_run: MakeRun, **settings):
    for activation, level in (("glu", 5.0), ("relu", 3.0)):
        for seed in (1, 2, 3):
            make_run(
                f"sweep/{activation}{seed}", seed=seed, level=level,
                overrides={"model.activation": activation}, **settings,
            )  # fmt: skip
    return make_run("sweep/other", overrides={"model.activation": "glu", "loss": "x.L2"}).parent


def test_pairs_that_differ_in_one_setting_are_judged(make_run: MakeRun) -> None:
    verdicts = judge(open_runs([_sweep(make_run)]))
    table, lines = verdict_table(verdicts)
    sentences = {pair.name: line for pair, line in zip(verdicts.pairs, lines, strict=True)}
    assert set(sentences) == {"model.activation glu against relu", "loss L1 against x.L2"}
    assert ": +2.0" in sentences["model.activation glu against relu"]
    assert sentences["model.activation glu against relu"].endswith("better")
    assert "this checkpoint against that one" in sentences["loss L1 against x.L2"]
    assert any("differ in more than one setting" in note for note in table.notes)
    assert "could have shown" in table.notes[0]
    assert "left out bass of song 5 (silent)" in markdown(table)


def test_arms_group_seeds_and_name_repeats(make_run: MakeRun) -> None:
    folder = make_run("s/a", seed=1).parent
    make_run("s/b", seed=2)
    make_run("s/c", seed=2)
    (make_run("s/d", seed=3) / "scores.csv").unlink()
    found, notes = arms(open_runs([folder]))
    assert [[run.label for run in arm.runs] for arm in found] == [["a", "b"]]
    assert "c repeats b" in notes[0] and "d was not tested" in notes[1]


def test_missing_tracks_are_named(make_run: MakeRun) -> None:
    names = [f"song {index}" for index in range(6)]
    make_run("s/a", overrides={"loss": "x.A"}, track_names=names)
    folder = make_run("s/b", overrides={"loss": "x.B"}, track_names=names[:1] + names[3:]).parent
    pair = judge(open_runs([folder])).pairs[0]
    assert pair.found.tracks == 4
    assert "vocals of song 1 (missing in b)" in pair.lost
    assert np.isfinite(pair.found.difference)


def test_other_songs_are_not_compared(make_run: MakeRun) -> None:
    make_run("s/a", overrides={"loss": "x.A"})
    data = {"data": {"name": "musdb18", "fingerprint": {"test": "0" * 32}}}
    folder = make_run("s/b", overrides={"loss": "x.B"}, passport=data).parent
    verdicts = judge(open_runs([folder]))
    assert not verdicts.pairs and "different songs" in verdicts.notes[0]


def test_one_setting_names_groups_and_leaves(make_run: MakeRun) -> None:
    first, second, third = open_runs([
        make_run("a", overrides={"model": "sepexp.model.demucs.Demucs"}),
        make_run("b", overrides={"model": UNMIX, "model.hidden": "512"}),
        make_run("c", overrides={"model": UNMIX, "loss.power": "2"}),
    ])  # fmt: skip
    assert one_setting(first, second) == "model Demucs against OpenUnmix"
    assert one_setting(first, third) is None
    assert one_setting(first, first) is None


def test_the_whole_config_of_two_seeds_is_one_arm(make_run: MakeRun) -> None:
    """A seed stands in more than one place of a real config: the stream has the run's."""
    for model in ("demucs_small", "conv_tasnet_small"):
        for seed in (1, 2):
            folder = make_run(f"{model}{seed}", seed=seed)
            chosen = [f"model={model}", f"seed={seed}", f"folder={folder}"]
            (folder / "config.json").write_text(json.dumps(plain(compose(chosen))))
    found, _ = arms(open_runs([folder.parent]))
    assert sorted(len(arm.runs) for arm in found) == [2, 2]
    assert {len({run.config["model"]["_target_"] for run in arm.runs}) for arm in found} == {1}
    (pair,) = judge(open_runs([folder.parent])).pairs
    assert pair.found.seeds == (2, 2)


def test_a_stream_seed_of_its_own_is_a_setting(make_run: MakeRun) -> None:
    first = make_run("first", overrides={"data.seed": "7"})
    second = make_run("second", overrides={"data.seed": "8"})
    assert len(arms(open_runs([first, second]))[0]) == 2
