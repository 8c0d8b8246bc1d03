"""The demo as a corpus: written once, split as it was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from sepexp.data.demo_corpus import Demo
from sepexp.errors import UserError


def test_prepared_once_and_opened_by_split(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = Demo(train=2, valid=1, test=1, seconds=1.0, test_seconds=1.5, seed=3)
    with pytest.raises(UserError, match="aren't complete: run `python -m sepexp data prepare"):
        corpus.open()
    corpus.prepare()
    assert "synthesised 4/4 songs" in capsys.readouterr().err
    corpus.prepare()
    assert capsys.readouterr().err == ""
    assert corpus.root.is_relative_to(cache)
    songs = corpus.open()
    assert [len(split) for split in songs[:3]] == [2, 1, 1]
    assert {song.frames / song.rate for song in [*songs.train, *songs.valid]} == {1.0}
    assert songs.test[0].frames == 1.5 * songs.test[0].rate
    assert set(songs.train[0].sources) == {"vocals", "drums", "bass", "other"}
    prints = {song.fingerprint for song in [*songs.train, *songs.valid, *songs.test]}
    assert len(prints) == 4
    assert "rank nothing" in songs.note
