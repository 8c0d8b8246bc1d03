"""Public Open-Unmix checkpoints (umx, umxhq, umxl, umxse): one file of tensors for each target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from sepexp.errors import UserError

NAMES = {
    "input_mean": "input_shift",
    "input_scale": "input_scale",
    "fc1": "encoder.0",
    "bn1": "encoder.1",
    "lstm": "lstm",
    "fc2": "decoder.0",
    "bn2": "decoder.1",
    "fc3": "decoder.3",
    "bn3": "decoder.4",
    "output_scale": "output_scale",
    "output_mean": "output_shift",
}
# written by older releases with each checkpoint: the transform's window and a version number
IGNORED = ("sample_rate", "stft.window", "transform.0.window")


def convert(
    states: Mapping[str, Mapping[str, Tensor]], targets: Sequence[str]
) -> dict[str, Tensor]:
    """The state dict of `sepexp.model.open_unmix.OpenUnmix` from public ones.

    Args:
        states: Public state dicts by target name.
        targets: Names in the model's order.

    Raises:
        UserError: A target has no state, or a state has a key that Open-Unmix doesn't have.
    """
    converted: dict[str, Tensor] = {}
    for index, target in enumerate(targets):
        if target not in states:
            raise UserError(
                f"no Open-Unmix weights for target {target}: got {', '.join(states)}; "
                "choose targets among these"
            )
        for key, value in states[target].items():
            if key in IGNORED:
                continue
            first, dot, rest = key.partition(".")
            if first not in NAMES:
                raise UserError(
                    f"{key} in the weights for {target} is not a key of Open-Unmix: "
                    "expected a state dict as umx, umxhq, umxl or umxse publish it"
                )
            converted[f"branches.{index}.{NAMES[first]}{dot}{rest}"] = value
    return converted
