"""Between int16 and floats, and between channel counts (numpy only)."""

from __future__ import annotations

import numpy as np

FULL_SCALE = np.float32(2.0**-15)  # of int16


def adapt(stem: np.ndarray, channels: int) -> np.ndarray:
    """Repeat a mono signal, average any other that has another number of channels.

    Shape:
        stem: (their channels, samples) -> (channels, samples).
    """
    if len(stem) == channels:
        return stem
    return np.repeat(stem.mean(axis=0, keepdims=True, dtype=np.float32), channels, axis=0)


class Scratch:
    """Memory for floats that is used again, because fresh pages cost as much as filling them."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.float32)

    def __getstate__(self) -> dict:
        return {"_memory": np.empty(0, np.float32)}

    def floats(self, raw: np.ndarray) -> np.ndarray:
        """The array in [-1, 1) as float32; valid until the next one is asked for."""
        if len(self._memory) < raw.size:
            self._memory = np.empty(raw.size, np.float32)
        out = self._memory[: raw.size].reshape(raw.shape)
        if raw.dtype == np.int16:
            np.multiply(raw, FULL_SCALE, out=out, dtype=np.float32)
        else:
            np.copyto(out, raw)
        return out


def to_int16_range(stem: np.ndarray) -> np.float32:
    """Make floats, in place, whole numbers that fit int16, so that nothing clips; their scale.

    The scale is a power of two, exact in every precision that a run may use.
    """
    peak = float(max(stem.max(initial=0), -stem.min(initial=0)))
    if peak == 0:
        return FULL_SCALE
    exponent = int(np.frexp(peak)[1])
    if np.rint(np.ldexp(peak, 15 - exponent)) > 32767:
        exponent += 1
    np.multiply(stem, np.float32(2.0 ** (15 - exponent)), out=stem)
    np.rint(stem, out=stem)
    return np.float32(2.0 ** (exponent - 15))
