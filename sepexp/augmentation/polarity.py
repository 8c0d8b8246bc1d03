"""The sign of a source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sepexp.augmentation.chance import checked, happens


class Polarity:
    """Turn a source upside down (FlipSign of arXiv 1911.13254).

    Args:
        p: How often, decided for each source.
    """

    kind = "pointwise"
    draws = ("polarity",)

    def __init__(self, *, p: float) -> None:
        self.p = checked(p, "polarity")

    def draw(self, generator: np.random.Generator, names: Sequence[str]) -> dict[str, np.ndarray]:
        """-1 or 1 for each source."""
        flipped = happens(generator, self.p, len(names))
        return {"polarity": np.where(flipped, -1, 1).astype(np.float32)}

    def apply(self, stems: Any, numbers: Any) -> Any:
        """In place. Shape: stems (batch, sources, channels, samples), polarity (batch, sources)."""
        return stems.mul_(numbers["polarity"][:, :, None, None])

    def fold(self, factor: Any, swapped: Any, numbers: Any) -> tuple[Any, Any]:
        """What `apply` does, as one factor and one exchange of channels for each source."""
        return factor * numbers["polarity"], swapped
