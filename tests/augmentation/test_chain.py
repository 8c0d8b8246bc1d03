"""What stretches, and where: handed in, or our own in the workers or on the device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sepexp.augmentation.chain import Augmentations
from sepexp.augmentation.gain import Gain
from sepexp.augmentation.pitch import Pitch
from sepexp.augmentation.tempo import Tempo
from sepexp.errors import UserError

TEMPO = Tempo(p=1, deviation=0.05, limit=0.12)
PITCH = Pitch(p=1, semitones=2, untouched=[], together=False)


class Doubled:
    """Says what it was asked."""

    def frames_needed(self, frames: int, tempo: float, semitones: float) -> int:
        return 2 * frames

    def change(self, audio: np.ndarray, *, tempo: float, semitones: float, frames: int) -> Any:
        return tempo, semitones, frames


def test_a_stretch_that_is_handed_in_reads_and_changes() -> None:
    chain = Augmentations(tempo=TEMPO, stretch=Doubled())
    assert chain.frames_needed(100, tempo=1.1, semitones=0) == 200
    assert chain.frames_needed(100, tempo=1, semitones=0) == 100
    audio = np.zeros((2, 200), np.float32)
    assert chain.change(audio, tempo=1.1, semitones=1, frames=100) == (1.1, 1, 100)
    assert not chain.on_device


def test_the_device_has_work_where_lengths_change_only() -> None:
    assert Augmentations(tempo=TEMPO, stretch_on="device").on_device
    assert not Augmentations(gain=Gain(low=0.5, high=1), stretch_on="device").on_device
    assert not Augmentations(tempo=TEMPO).on_device


@pytest.mark.parametrize(
    "members", [{"tempo": TEMPO}, {"pitch": PITCH}, {"tempo": TEMPO, "pitch": PITCH}]
)
def test_bounds_hold_for_every_draw(members: dict[str, Any]) -> None:
    chain = Augmentations(**members, stretch_on="device")
    generator = np.random.default_rng(1)
    most, longest = chain.most_frames(44100), 0
    for _ in range(500):
        numbers = chain.draw(lambda _: generator, ("vocals", "bass"))
        for tempo, semitones in zip(
            numbers.get("tempo", np.ones(2)), numbers.get("semitones", np.zeros(2)), strict=True
        ):
            longest = max(longest, chain.frames_needed(44100, tempo=tempo, semitones=semitones))
    assert longest <= most < longest + 3200  # a hop and the margins


class Boundless(Tempo):
    """From elsewhere."""

    bounds = property()  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"stretch_on": "gpu"}, "stretch_on is 'gpu': expected worker or device"),
        ({"stretch": 3}, "stretch is a int without `frames_needed`"),
        ({"stretch": Doubled(), "stretch_on": "device"}, "is a Doubled: set stretch_on=worker"),
        (
            {"tempo": Boundless(p=1, deviation=0, limit=0), "stretch_on": "device"},
            "tempo has no `bounds`",
        ),
    ],
)
def test_what_can_not_be_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Augmentations(**settings)
