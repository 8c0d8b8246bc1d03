"""Pitch shift: higher or lower at the same speed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sepexp.augmentation.chance import checked, happens
from sepexp.dsp.stretch import change, frames_needed_for
from sepexp.errors import UserError


class Pitch:
    """Shift by a whole number of semitones, each equally likely (arXiv 1911.13254, section 5.3).

    Args:
        p: How often a source is shifted.
        semitones: Largest shift, up and down; a draw may also be 0.
        untouched: Sources that keep their pitch; drums have none that a listener would name.
        together: In an example that is not remixed, shift all sources alike, so that they stay in
            one key; False shifts each by its own.
    """

    kind = "length"
    draws = ("semitones",)

    def __init__(
        self, *, p: float, semitones: int, untouched: Sequence[str], together: bool
    ) -> None:
        if not (isinstance(semitones, int) and 0 <= semitones <= 12):
            raise UserError(
                f"augmentation.pitch.semitones is {semitones}: expected a whole number from 0 to 12"
            )
        self.p, self.semitones = checked(p, "pitch"), semitones
        self.untouched, self.together = tuple(untouched), together

    def draw(self, generator: np.random.Generator, names: Sequence[str]) -> dict[str, np.ndarray]:
        """The shift of each source in semitones, 0 where nothing happens."""
        chosen = happens(generator, self.p, len(names))
        steps = generator.integers(-self.semitones, self.semitones + 1, len(names))
        movable = np.array([name not in self.untouched for name in names])
        return {"semitones": np.where(chosen & movable, steps, 0).astype(np.float64)}

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Least and greatest shift of any draw, in semitones."""
        return {"semitones": (-self.semitones, self.semitones)}

    def align(self, numbers: dict[str, np.ndarray], names: Sequence[str]) -> dict[str, np.ndarray]:
        """One key for all that may move, if asked for."""
        steps = numbers["semitones"]
        movable = np.array([name not in self.untouched for name in names])
        if not self.together or not movable.any():
            return {"semitones": steps}
        return {"semitones": np.where(movable, steps[movable][0], 0.0)}

    def frames_needed(self, frames: int, numbers: dict[str, np.ndarray]) -> int:
        """Samples to read so that every source has `frames` of them afterwards."""
        return max(frames_needed_for(frames, tempo=1, semitones=s) for s in numbers["semitones"])

    def apply(self, stems: np.ndarray, numbers: dict[str, np.ndarray], frames: int) -> np.ndarray:
        """Shape: (sources, channels, samples) -> (sources, channels, frames) float32."""
        pairs = zip(stems, numbers["semitones"], strict=True)
        return np.stack([change(s, tempo=1, semitones=n, frames=frames) for s, n in pairs])
