"""Tempo and pitch: what is drawn, what is read for it, what comes out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sepexp.augmentation.pitch import Pitch
from sepexp.augmentation.tempo import Tempo
from sepexp.errors import UserError

NAMES = ("vocals", "drums", "bass")


def draws(member: Any, count: int = 3000) -> np.ndarray:
    generator = np.random.default_rng(1)
    (name,) = member.draws
    return np.array([member.draw(generator, NAMES)[name] for _ in range(count)])


def test_tempo_is_normal_and_clipped_for_its_share_of_sources() -> None:
    tempo = draws(Tempo(p=0.2, deviation=0.05, limit=0.12))
    changed = tempo[tempo != 1]
    assert abs(len(changed) / tempo.size - 0.2) < 0.017  # 4 standard errors of 9000 draws
    assert changed.min() == 0.88 and changed.max() == 1.12
    inner = changed[(changed != 0.88) & (changed != 1.12)]
    assert abs(inner.mean() - 1) < 0.005
    # a normal distribution cut at 2.4 standard deviations keeps 0.945 of its deviation
    assert abs(inner.std() - 0.0473) < 0.003


def test_pitch_is_a_whole_number_of_semitones_and_leaves_drums() -> None:
    steps = draws(Pitch(p=1, semitones=2, untouched=["drums"], together=False))
    assert not steps[:, 1].any()
    values, counts = np.unique(steps[:, [0, 2]], return_counts=True)
    assert values.tolist() == [-2, -1, 0, 1, 2]
    assert counts.min() > 0.18 * 6000 and counts.max() < 0.22 * 6000
    assert abs(np.corrcoef(steps[:, 0], steps[:, 2])[0, 1]) < 0.08


def test_aligned_sources_share_one_tempo_and_if_wished_one_key() -> None:
    numbers = {"tempo": np.array([1.1, 1, 0.9]), "semitones": np.array([2.0, 0, -1])}
    tempo = Tempo(p=1, deviation=0.05, limit=0.12)
    assert tempo.align(numbers, NAMES)["tempo"].tolist() == [1.1, 1.1, 1.1]
    together = Pitch(p=1, semitones=2, untouched=["drums"], together=True)
    assert together.align(numbers, NAMES)["semitones"].tolist() == [2, 0, 2]
    apart = Pitch(p=1, semitones=2, untouched=["drums"], together=False)
    assert apart.align(numbers, NAMES)["semitones"].tolist() == [2, 0, -1]
    nothing_moves = Pitch(p=1, semitones=2, untouched=NAMES, together=True)
    assert not nothing_moves.align({"semitones": np.zeros(3)}, NAMES)["semitones"].any()


@pytest.mark.parametrize(
    "member, numbers",
    [
        (Tempo(p=1, deviation=0.05, limit=0.12), {"tempo": np.array([1.1, 1.0, 0.9])}),
        (
            Pitch(p=1, semitones=2, untouched=[], together=False),
            {"semitones": np.array([2.0, 0, -2])},
        ),
    ],
)
def test_what_is_needed_is_enough_and_the_length_is_exact(
    member: Any, numbers: dict[str, np.ndarray]
) -> None:
    needed = member.frames_needed(30000, numbers)
    stems = np.random.default_rng(1).standard_normal((3, 2, needed)).astype(np.float32)
    out = member.apply(stems, numbers, 30000)
    assert out.shape == (3, 2, 30000) and out.dtype == np.float32
    assert np.array_equal(out[1], stems[1, :, :30000])  # nothing drawn: untouched
    for source in (0, 2):
        assert not np.array_equal(out[source], stems[source, :, :30000])
        level = out[source].std() / stems[source].std()
        assert 0.8 < level < 1.1  # white noise loses some treble in a pitch change


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Tempo(p=1, deviation=-1, limit=0.1), "deviation=-1"),
        (lambda: Tempo(p=1, deviation=0.1, limit=0.9), "limit=0.9"),
        (lambda: Tempo(p=2, deviation=0.1, limit=0.1), "tempo.p is 2"),
        (lambda: Pitch(p=1, semitones=1.5, untouched=[], together=False), "whole number"),
        (lambda: Pitch(p=1, semitones=13, untouched=[], together=False), "from 0 to 12"),
    ],
)
def test_ranges_that_make_no_sense_are_refused(make: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        make()
