"""A stem made of two stems of its kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sepexp.augmentation.chance import checked, happens
from sepexp.errors import UserError


class Mixup:
    """Add a second stem of the same source, from another song or place: two singers, two drummers.

    Args:
        p: How often a source gets a second stem, decided for each source.
        low: Smallest level of the second stem, as a factor.
        high: Largest level of the second stem.
    """

    kind = "selection"
    draws = ("mixup",)

    def __init__(self, *, p: float, low: float, high: float) -> None:
        if not 0 < low <= high:
            raise UserError(
                f"augmentation.mixup has low={low} and high={high}: expected 0 < low <= high"
            )
        self.p, self.low, self.high = checked(p, "mixup"), low, high

    def draw(self, generator: np.random.Generator, names: Sequence[str]) -> dict[str, np.ndarray]:
        """The second stem's level; 0 where there is none."""
        second = happens(generator, self.p, len(names))
        level = self.low + (self.high - self.low) * generator.random(len(names))
        return {"mixup": np.where(second, level, 0).astype(np.float32)}

    def apply(self, picks: Any, numbers: dict[str, np.ndarray]) -> Any:
        """Ask for a second stem at the drawn level."""
        return picks._replace(second=numbers["mixup"])
