from __future__ import annotations

from typing import NamedTuple

import pytest

from sepexp.errors import UserError
from sepexp.guard import check_selection, shared


class Song(NamedTuple):
    name: str
    fingerprint: str


TEST = [Song("t1", "aaa"), Song("t2", "bbb")]
CLEAN = [Song("t1", "ccc"), Song("v2", "ddd")]  # a test song's name, but other audio
LEAK = [Song("v1", "ddd"), Song("renamed", "bbb")]


def test_same_name_is_no_leak_and_another_name_is() -> None:
    assert check_selection(train=CLEAN, valid=CLEAN, test=TEST, allowed=False) == []
    assert shared(LEAK, TEST) == ["renamed (= t2)"]


def test_a_test_song_in_validation_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"1 validation songs .*renamed \(= t2\).*chosen on the test"
    ):
        check_selection(valid=LEAK, test=TEST, allowed=False)


def test_a_test_song_in_training_is_refused() -> None:
    with pytest.raises(UserError, match="1 training songs .* learned"):
        check_selection(train=LEAK, valid=CLEAN, test=TEST, allowed=False)


def test_allowed_leaks_are_named_once() -> None:
    assert check_selection(train=LEAK, valid=LEAK, test=TEST, allowed=True) == ["renamed (= t2)"]
