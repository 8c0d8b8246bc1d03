"""Frames as museval cuts them: where each begins and ends, and what is left over."""

from __future__ import annotations

import math

from sepexp.errors import UserError


def frame_bounds(samples: int, window: float, hop: float) -> list[tuple[int, int]]:
    """First sample and end of every full frame; one frame when the window covers the whole signal.

    What follows the last full frame belongs to no frame. Window and hop, in samples, may be
    fractional, overlapping or sparse; an infinite window is the whole signal.

    Raises:
        UserError: a window or hop that is not positive, or an infinite hop with several frames.
    """
    if not (window > 0 and hop > 0):
        raise UserError(f"window {window} and hop {hop} must both be above 0 samples.")
    if window >= samples:
        return [(0, samples)]
    if math.isinf(hop):
        raise UserError(
            f"hop is infinite while the window ({window} samples) is shorter than the signal"
            f" ({samples} samples): give a finite hop or an infinite window."
        )
    count = math.floor((samples - window + hop) / hop)
    return [
        (math.floor(index * hop), math.floor(min(index * hop + window, samples)))
        for index in range(count)
    ]
