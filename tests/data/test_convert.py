"""Between int16 and floats: nothing clips, nothing is lost that int16 could hold."""

from __future__ import annotations

import numpy as np
import pytest

from sepexp.data.convert import FULL_SCALE, Scratch, adapt, to_int16_range


@pytest.mark.parametrize(
    "peak", [1.0, -1.0, 0.99999, 32767 / 32768, 0.5, 3.7, -1e-6, 2.0**-20, 65535.9 / 65536]
)
def test_floats_fit_int16_with_less_than_two_steps_of_headroom(peak: float) -> None:
    stem = np.array([[peak, peak / 3, 0]], np.float32)
    before = stem.copy()
    scale = to_int16_range(stem)
    assert np.log2(scale) == round(np.log2(scale))
    assert 16383 <= np.abs(stem).max() <= 32767  # the scale is no larger than it must be
    assert (stem == np.rint(stem)).all()
    assert np.abs(stem * scale - before).max() <= scale / 2


def test_silence_keeps_the_usual_scale() -> None:
    stem = np.zeros((2, 3), np.float32)
    assert to_int16_range(stem) == FULL_SCALE and not stem.any()


def test_scratch_memory_is_used_again_and_exact() -> None:
    scratch = Scratch()
    first = scratch.floats(np.array([[32767, -32768, 1]], np.int16))
    assert first.tolist() == [[32767 / 32768, -1, 1 / 32768]]
    second = scratch.floats(np.array([[0.25, 0.5]], np.float32))
    assert second.tolist() == [[0.25, 0.5]] and np.shares_memory(first, second)


def test_channels_are_repeated_or_averaged() -> None:
    mono, stereo = np.array([[1.0, 2]]), np.array([[1.0, 2], [3, 6]])
    assert adapt(mono, 2).tolist() == [[1, 2], [1, 2]]
    assert adapt(stereo, 1).tolist() == [[2, 4]]
    assert adapt(stereo, 2) is stereo
