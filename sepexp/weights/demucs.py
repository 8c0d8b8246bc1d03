"""Public Demucs checkpoints of versions 1 and 2 (the reference's first and its 2021 commits)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sepexp.errors import UserError


def convert(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of `sepexp.model.demucs.Demucs`, which keeps the reference's names.

    Raises:
        UserError: A key belongs to a later version, which is another network.
    """
    known = ("encoder.", "decoder.", "lstm.", "final.")
    for key in state:
        if not key.startswith(known) or ".norm" in key:
            raise UserError(
                f"{key} is no key of Demucs 1 or 2: later versions are hdemucs, htdemucs"
            )
    return dict(state)
