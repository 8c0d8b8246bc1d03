"""Targets in the order of the model that loads them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sepexp.errors import UserError

DEMUCS = ("drums", "bass", "other", "vocals")  # also Meta-TasNet's


def places(published: Sequence[str], targets: Sequence[str]) -> list[int]:
    """Where each of the model's targets stands in the published order.

    Raises:
        UserError: The names aren't the same.
    """
    if sorted(published) != sorted(targets):
        raise UserError(
            f"these weights estimate {', '.join(published)}: set targets to these names, "
            f"in any order, instead of {', '.join(targets)}"
        )
    return [list(published).index(name) for name in targets]


def reorder(value: Tensor, order: Sequence[int], *, dim: int) -> Tensor:
    """Equal blocks of an axis, one for each target, in another order."""
    blocks = value.chunk(len(order), dim)
    return torch.cat([blocks[index] for index in order], dim)
