"""The songs of a test come and go one at a time."""

from __future__ import annotations

import weakref
from types import SimpleNamespace
from typing import Any

import torch

from sepexp.cli.test import songs
from sepexp.data.batch import Whole
from sepexp.evaluation import evaluate

METRIC = {"backend": "sepexp", "window": 1.0, "hop": 1.0}
CONFIG = {"sources": ["vocals", "drums"], "targets": ["drums", {"all": ["vocals", "drums"]}]}


class Stream:
    """Counts the songs that somebody still holds while the next one is read."""

    seconds = {"test": None}

    def __init__(self) -> None:
        self.alive: list[Any] = []
        self.most = 0

    def tracks(self, split: str) -> list[Any]:
        return [SimpleNamespace(name=name) for name in "abc"]

    def whole(self, track: Any, seconds: float | None) -> Whole:
        self.most = max(self.most, sum(one() is not None for one in self.alive))
        mixture, stems = torch.ones(2, 10), torch.ones(2, 2, 10)
        self.alive += [weakref.ref(mixture), weakref.ref(stems)]
        present = torch.tensor([track.name != "b", True])
        return Whole(track.name, mixture, stems, present)


def test_a_song_is_gone_before_the_next_one_is_read() -> None:
    stream = Stream()
    evaluate(songs(stream, "test", CONFIG), {}, run="", sample_rate=10, metric=METRIC)
    assert len(stream.alive) == 6 and stream.most == 0


def test_a_song_brings_the_targets_that_it_has_in_their_order() -> None:
    found = list(songs(Stream(), "test", CONFIG))
    assert [song.name for song in found] == ["a", "b", "c"]
    assert [song.targets for song in found] == [["drums", "all"], ["drums"], ["drums", "all"]]
    assert found[0].truth[:, 0, 0].tolist() == [1, 2] and found[1].kept == [0]
