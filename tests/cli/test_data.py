"""`python -m sepexp data`: songs prepared before a training, and mistakes in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sepexp.cli.data import COMMANDS, main
from sepexp.errors import UserError

RATE = 8000


@pytest.fixture
def songs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEPEXP_CACHE", str(tmp_path / "cache"))
    for number, song in enumerate("abcd"):
        (tmp_path / "songs" / song).mkdir(parents=True)
        stem = np.random.default_rng(number).normal(0, 1000, (RATE, 2)).astype(np.int16)
        soundfile.write(tmp_path / "songs" / song / "flute.wav", stem, RATE)
    return tmp_path / "songs"


@pytest.mark.parametrize(("form", "ending"), [("auto", ".pcm"), ("flac", ".0.flac")])
def test_prepare_stores_and_lists(
    songs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str, ending: str
) -> None:
    arguments = ["data=folder", f"data.corpus.root={songs}", f"data.store={form}"]
    main(["prepare", *arguments, "--processes", "1", "--check"])
    shown = capsys.readouterr()
    assert [line.split()[:3] for line in shown.out.splitlines()] == [
        ["train", "2", "songs"],
        ["valid", "1", "songs"],
        ["test", "1", "songs"],
    ]
    assert "flute" in shown.out
    assert "drawn by hash" in shown.err
    assert len(list((tmp_path / "cache" / "store").glob(f"*{ending}"))) == 4


def test_a_mistake_is_one_sentence() -> None:
    environment = {key: value for key, value in os.environ.items() if key != "MUSDB18_PATH"}
    command = [sys.executable, "-m", "sepexp", "data", "prepare", "data=musdb18"]
    shown = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert shown.returncode == 2
    assert shown.stderr.count("\n") == 1
    assert "data.corpus.root or MUSDB18_PATH" in shown.stderr


@pytest.mark.parametrize(
    "arguments", [[], ["polish"], ["prepare", "--processes", "0"], ["prepare", "--nothing"]]
)
def test_flags_that_are_not_there(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    for name, (says, _) in COMMANDS.items():
        assert name in shown
        assert says in shown


def test_a_folder_without_songs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no song for train"):
        main(["prepare", "data=folder", f"data.corpus.root={tmp_path}"])
