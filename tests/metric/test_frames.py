"""Frames are museval's own, for every kind of window and hop."""

from __future__ import annotations

import math

import pytest

from sepexp.errors import UserError
from sepexp.metric.frames import frame_bounds
from sepexp.metric.museval_backend import load_museval


@pytest.mark.parametrize("samples", [1, 99, 100, 101, 300, 1001])
@pytest.mark.parametrize(
    ("window", "hop"),
    [
        (100, 100),
        (100, 50),
        (70.3, 33.7),
        (40, 150),
        (100.5, 100.5),
        (math.inf, math.inf),
        (300, 1),
    ],
)
def test_equals_museval(samples: int, window: float, hop: float) -> None:
    theirs = load_museval().metrics.Framing(window, hop, samples)
    assert frame_bounds(samples, window, hop) == [(part.start, part.stop) for part in theirs]


@pytest.mark.parametrize(("window", "hop"), [(0, 1), (1, 0), (-1, 1), (math.nan, 1), (5, math.inf)])
def test_refuses_senseless_frames(window: float, hop: float) -> None:
    with pytest.raises(UserError):
        frame_bounds(10, window, hop)
