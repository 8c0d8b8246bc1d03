"""A factor for each source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sepexp.errors import UserError


class Gain:
    """Scale each source by a uniform factor (Uhlich et al. 2017: 0.25 to 1.25).

    Args:
        low: Smallest factor.
        high: Largest factor.
    """

    kind = "pointwise"
    draws = ("gain",)

    def __init__(self, *, low: float, high: float) -> None:
        if not 0 <= low <= high:
            raise UserError(
                f"augmentation.gain has low={low} and high={high}: expected 0 <= low <= high"
            )
        self.low, self.high = low, high

    def draw(self, generator: np.random.Generator, names: Sequence[str]) -> dict[str, np.ndarray]:
        """A factor for each source."""
        share = generator.random(len(names))
        return {"gain": (self.low + (self.high - self.low) * share).astype(np.float32)}

    def apply(self, stems: Any, numbers: Any) -> Any:
        """In place. Shape: stems (batch, sources, channels, samples), gain (batch, sources)."""
        return stems.mul_(numbers["gain"][:, :, None, None])

    def fold(self, factor: Any, swapped: Any, numbers: Any) -> tuple[Any, Any]:
        """What `apply` does, as one factor and one exchange of channels for each source."""
        return factor * numbers["gain"], swapped
