"""Public Demucs checkpoints of versions 1 and 2 (the reference's first and its 2021 commits)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from sepexp.errors import UserError
from sepexp.weights.order import DEMUCS, places, reorder


def convert(state: Mapping[str, Tensor], *, targets: Sequence[str]) -> dict[str, Tensor]:
    """The state dict of `sepexp.model.demucs.Demucs`, which keeps the reference's names.

    Args:
        state: A public state dict, for drums, bass, other and vocals.
        targets: Names in the model's order.

    Raises:
        UserError: A key belongs to a later version, which is another network; other targets.
    """
    known = ("encoder.", "decoder.", "lstm.", "final.")
    for key in state:
        if not key.startswith(known) or ".norm" in key:
            raise UserError(
                f"{key} is no key of Demucs 1 or 2: later versions are hdemucs, htdemucs"
            )
    converted = dict(state)
    order = places(DEMUCS, targets)
    if "final.weight" in state:
        last = "final"
    else:  # the last module of the last layer
        numbers = [tuple(map(int, key.split(".")[1:3])) for key in state if key[:8] == "decoder."]
        last = "decoder.{}.{}".format(*max(numbers))
    outputs = 0 if last == "final" else 1  # transposed convolutions have inputs first
    converted[f"{last}.weight"] = reorder(state[f"{last}.weight"], order, dim=outputs)
    converted[f"{last}.bias"] = reorder(state[f"{last}.bias"], order, dim=0)
    return converted
