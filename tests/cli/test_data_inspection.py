"""`python -m sepexp data doctor` and `data audit` on demo songs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_runs import SONGS, sepexp

from sepexp.data import audit

FEW = [*SONGS, "augmentation.remix.p=0.5"]


def test_the_doctor_measures_every_stage_and_says_one_thing(song_cache: Path) -> None:
    said = sepexp(song_cache, "data", "doctor", *FEW, "--seconds", "0.05", "--device", "cpu")
    for stage in ("draw", "read again", "pitch and tempo", "floats and", "the loader, no workers"):
        assert stage in said
    assert "copy to" not in said  # a processor's memory is where the batches are
    last = said.strip().splitlines()[-1]
    assert "binds" in last and "never waits for data" in last


def test_the_audit_leaves_a_page_and_wav_files(song_cache: Path, tmp_path: Path) -> None:
    said = sepexp(
        song_cache, "data", "audit", *FEW, "--count", "1", "--draws", "2000",
        "--out", str(tmp_path / "audit"),
    )  # fmt: skip
    assert "No check failed on 2000 draws" in said and "NO" not in said.split()
    assert (tmp_path / "audit" / "index.html").stat().st_size > 10_000
    assert len(list(tmp_path.glob("audit/0/*.wav"))) == 10


def test_a_broken_promise_is_the_exit_code(
    song_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = audit.draw

    def halved(chunks: Any, count: int) -> Any:
        found = drawn(chunks, count)
        return found._replace(numbers=found.numbers | {"gain": found.numbers["gain"] / 2})

    monkeypatch.setattr(audit, "draw", halved)
    said = sepexp(
        song_cache, "data", "audit", *FEW, "--count", "0", "--draws", "500",
        "--out", str(tmp_path / "audit"), code=1,
    )  # fmt: skip
    assert "NO" in said.split() and "checks failed" in said
    assert "checks failed" in (tmp_path / "audit" / "index.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["doctor", "--seconds", "0"], "expected more than 0"),
        (["doctor", "--device", "abacus", *SONGS], "--device abacus can't be used"),
        (["audit", "--draws", "0"], "expected at least 1"),
        (["audit", "--count", "-1"], "expected at least 0"),
        (["audit", "augmentation=nope"], "did you mean augmentation=none?"),
        (["doctor", "data.segmint=3"], "did you mean data.segment?"),
        (["prepare", "two words"], "expected key=value"),
        (["audit", "--out", "taken", *SONGS, "--draws", "9", "--count", "0"], "name a new folder"),
    ],
)
def test_a_mistake_is_one_sentence(
    arguments: list[str],
    words: str,
    song_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("a file")
    said = sepexp(song_cache, "data", *arguments, code=2)
    assert words in said and "Traceback" not in said
