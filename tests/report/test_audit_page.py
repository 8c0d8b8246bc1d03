"""The audit's page: one file, nothing from outside, and names that stay names."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sepexp.errors import UserError
from sepexp.report.audit_page import Example, write_audit
from sepexp.report.text import Table

RATE = 8000
EVIL = "<script>alert(1)</script>"
TABLE = Table("", ["augmentation", "kept"], [[EVIL, "yes"]])


def example(number: int = 0, level: float = 0.1) -> Example:
    before = level * np.random.default_rng(1).standard_normal((2, 2, RATE)).astype(np.float32)
    places = [(EVIL, 1.5), ('a "song"', 0.0)]
    return Example(
        number, ["../../vocals", EVIL], places, {"gain": [0.5, 1.0]}, before, 0.5 * before
    )


def written(out: Path, *examples: Example) -> str:
    page = write_audit(out, table=TABLE, verdict=EVIL, about=EVIL, examples=examples, rate=RATE)
    return page.read_text()


def test_a_page_needs_no_other_file_and_names_stay_names(tmp_path: Path) -> None:
    out = tmp_path / "audit"
    text = written(out, example())
    assert "alert(1)" in text and EVIL not in text
    sources = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert all(s.startswith(("data:", "#")) for s in sources), "something lies outside"
    assert sum(s.startswith("data:image/png") for s in sources) == 6
    assert sum(s.startswith("data:audio/") for s in sources) == 6
    assert {path.parent for path in tmp_path.rglob("*.wav")} == {out / "0"}  # no name leads out


def test_sounds_lie_beside_it_unclipped(tmp_path: Path) -> None:
    loud = example(level=0.9)
    assert "turned down by" in written(tmp_path, loud)
    names = sorted(path.name for path in (tmp_path / "0").iterdir())
    assert len(names) == 6 and names[0] == "0 mixture after.wav"
    mixture, rate = soundfile.read(tmp_path / "0" / "0 mixture before.wav")
    assert rate == RATE and np.abs(mixture).max() > 1
    assert np.allclose(mixture.T, loud.before.sum(0), atol=1e-6)


def test_an_earlier_audit_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    out = tmp_path / "audit"
    assert "turned down" not in written(out, example(1))
    assert len(list(out.glob("1/*.wav"))) == 6
    written(out)
    assert not list(out.glob("1/*.wav"))
    (tmp_path / "index.html").write_text("somebody's own page")
    for taken in (tmp_path, out / "index.html"):
        with pytest.raises(UserError, match="--out"):
            written(taken, example())
    assert (tmp_path / "index.html").read_text() == "somebody's own page"
