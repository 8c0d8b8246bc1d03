"""Time stretch: another speed at the same pitch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sepexp.augmentation.chance import checked, happens
from sepexp.dsp.stretch import change, frames_needed_for
from sepexp.errors import UserError


class Tempo:
    """Play faster or slower by a normally distributed share (Demucs, arXiv 1911.13254).

    Args:
        p: How often, for each source of a remixed example, for all at once of one that is not.
        deviation: Standard deviation of the tempo around 1 (0.05: 5 %).
        limit: Largest distance from 1.
    """

    kind = "length"
    draws = ("tempo",)

    def __init__(self, *, p: float, deviation: float, limit: float) -> None:
        if not (deviation >= 0 and 0 <= limit <= 0.5):
            raise UserError(
                f"augmentation.tempo has deviation={deviation} and limit={limit}: "
                "expected a deviation of at least 0 and a limit from 0 to 0.5"
            )
        self.p, self.deviation, self.limit = checked(p, "tempo"), deviation, limit

    def draw(self, generator: np.random.Generator, names: Sequence[str]) -> dict[str, np.ndarray]:
        """The speed of each source, 1 where nothing happens."""
        chosen = happens(generator, self.p, len(names))
        share = self.deviation * generator.standard_normal(len(names))
        tempo = 1 + np.clip(share, -self.limit, self.limit)
        return {"tempo": np.where(chosen, tempo, 1.0)}

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Least and greatest speed of any draw."""
        return {"tempo": (1 - self.limit, 1 + self.limit)}

    def align(self, numbers: dict[str, np.ndarray], names: Sequence[str]) -> dict[str, np.ndarray]:
        """Instruments that play together keep their common time."""
        return {"tempo": np.full_like(numbers["tempo"], numbers["tempo"][0])}

    def frames_needed(self, frames: int, numbers: dict[str, np.ndarray]) -> int:
        """Samples to read so that every source has `frames` of them afterwards."""
        return max(frames_needed_for(frames, tempo=t, semitones=0) for t in numbers["tempo"])

    def apply(self, stems: np.ndarray, numbers: dict[str, np.ndarray], frames: int) -> np.ndarray:
        """Shape: (sources, channels, samples) -> (sources, channels, frames) float32."""
        pairs = zip(stems, numbers["tempo"], strict=True)
        return np.stack([change(s, tempo=t, semitones=0, frames=frames) for s, t in pairs])
