"""Checks and draws that augmentations share: chances and ranges."""

from __future__ import annotations

import numpy as np

from sepexp.errors import UserError


def checked(p: float, owner: str) -> float:
    """A probability, or a sentence."""
    if not 0 <= p <= 1:
        raise UserError(f"augmentation.{owner}.p is {p}: expected a probability from 0 to 1")
    return float(p)


def happens(generator: np.random.Generator, p: float, size: int) -> np.ndarray:
    """Which of `size` things happen, each with probability p; p = 0 and p = 1 are exact."""
    return generator.random(size) < p
