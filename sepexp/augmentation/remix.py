"""Mixtures of stems from different songs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sepexp.augmentation.chance import checked, happens


class Remix:
    """Each source from a song and a place of its own (Uhlich et al. 2017, section 4).

    Args:
        p: How often an example is remixed; otherwise its sources sound together in one song.
    """

    kind = "selection"
    draws = ("remix",)

    def __init__(self, *, p: float) -> None:
        self.p = checked(p, "remix")

    def draw(self, generator: np.random.Generator, names: Sequence[str]) -> dict[str, np.ndarray]:
        """One decision for the whole example."""
        return {"remix": np.repeat(happens(generator, self.p, 1), len(names)).astype(np.float32)}

    def apply(self, picks: Any, numbers: dict[str, np.ndarray]) -> Any:
        """Take the sources' own picks instead of the common one."""
        return picks._replace(together=not numbers["remix"].any())
