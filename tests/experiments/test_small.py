"""The survey's sweep of small variants: which words are recipes, and what is kept."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from sepexp.cli.compose import recipes_dir

FOUND = {"sdr": {"model": {"vocals": 1.0, "all": 1.0}}}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The script with trainings and tables that only note what was asked: `asked`, `written`."""
    monkeypatch.syspath_prepend(str(recipes_dir() / "experiments" / "survey"))
    small = importlib.import_module("small")
    small.asked, small.written = [], []
    monkeypatch.setattr(small, "RESULTS", tmp_path / "small.json")
    monkeypatch.setattr(small, "train", lambda *words: small.asked.append(words))
    monkeypatch.setattr(small, "result", lambda folder: FOUND)
    monkeypatch.setattr(small, "write", small.written.append)
    return small


def call(script: Any, monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["small.py", *words])
    script.main()


def test_a_recipe_as_it_is_goes_into_the_table(
    script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    call(script, monkeypatch, "crn", "--runs", str(tmp_path))
    assert script.asked == [("crn", tmp_path / "crn", [])]
    assert script.known() == {"crn": FOUND} and script.written == [{"crn": FOUND}]


def test_an_experiment_has_a_folder_of_its_own_and_no_row(
    script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    overrides = ["model.widths=[4,8]", "optimizer.lr=1e-3"]
    call(script, monkeypatch, "crn", overrides[0], "--runs", str(tmp_path), overrides[1])
    folder = tmp_path / "crn_model.widths_4_8_optimizer.lr_1e_3"
    assert script.asked == [("crn", folder, overrides)]
    assert script.known() == {} and script.written == []


def test_an_unknown_recipe_is_refused(
    script: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        call(script, monkeypatch, "conv")
    assert ended.value.code == 2 and "no recipe named conv" in capsys.readouterr().err
    assert script.asked == []
