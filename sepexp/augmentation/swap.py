"""Left for right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sepexp.augmentation.chance import checked, happens


class Swap:
    """Exchange the channels of a source (Uhlich et al. 2017); nothing happens to mono.

    Args:
        p: How often, decided for each source.
    """

    kind = "pointwise"
    draws = ("swap",)

    def __init__(self, *, p: float) -> None:
        self.p = checked(p, "swap")

    def draw(self, generator: np.random.Generator, names: Sequence[str]) -> dict[str, np.ndarray]:
        """1 where the channels of a source are exchanged, else 0."""
        return {"swap": happens(generator, self.p, len(names)).astype(np.float32)}

    def apply(self, stems: Any, numbers: Any) -> Any:
        """Shape: stems (batch, sources, channels, samples), swap (batch, sources)."""
        if stems.shape[2] == 1:
            return stems
        chosen = (numbers["swap"] != 0)[:, :, None, None]
        return stems.flip(2).where(chosen, stems)

    def fold(self, factor: Any, swapped: Any, numbers: Any) -> tuple[Any, Any]:
        """What `apply` does, as one factor and one exchange of channels for each source."""
        return factor, swapped ^ (numbers["swap"] != 0)
