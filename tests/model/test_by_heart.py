"""A complex mask learns an excerpt of a real song by heart: training loses nothing on its way."""

from __future__ import annotations

import importlib
import os
import statistics
from pathlib import Path

import pytest

REAL = os.environ.get("SEPEXP_CC0_SONGS", "")


@pytest.mark.slow  # half an hour on one core
@pytest.mark.skipif(not REAL, reason="SEPEXP_CC0_SONGS names no folder of songs")
def test_a_complex_mask_learns_six_seconds_to_more_than_15_db() -> None:
    """Measured: 13.8, 17.2, 22.5 and 14.4 dB on Lithium from 24 s, where true magnitudes with the
    mixture's phase, the bound of every magnitude mask, have 13.9 dB in the mean."""
    overfit = importlib.import_module("benchmarks.overfit")
    excerpt = overfit.easiest(Path(REAL))
    mixture = excerpt.stems.sum(0).expand_as(excerpt.stems)
    assert statistics.mean(overfit.sdr(excerpt.stems, mixture)) < 0  # not there to begin with
    choices = ["optimizer.lr=2.5e-3", "model.hop=512"]
    scores = overfit.learn(excerpt, "complex_mask_small", "l1", choices, steps=3000)
    assert statistics.mean(scores) > 15
