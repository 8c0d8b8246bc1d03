"""The released Meta-TasNet checkpoint: `state_dict` of its `best_checkpoint`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sepexp.errors import UserError
from sepexp.weights.order import DEMUCS, places

# (pattern of their key inside a stage, our key); \1 is a number
LAYOUT = [
    (r"encoder\.filters\.(\d+)", r"encoder.bank.\1"),
    (r"encoder\.bottleneck\.(\d+)", r"encoder.mix.\1"),
    (r"encoder\.spectrogram\.mel_transform", "encoder.spectrogram.compress"),
    (r"encoder\.spectrogram\.affine_scale", "encoder.spectrogram.scale"),
    (r"encoder\.spectrogram\.affine_bias", "encoder.spectrogram.shift"),
    (r"encoder\.spectrogram\.mean", "encoder.spectrogram.mean"),
    (r"encoder\.spectrogram\.std", "encoder.spectrogram.deviation"),
    (r"decoder\.bottleneck\.0", "decoder.split"),
    (r"decoder\.filters\.(\d+)", r"decoder.bank.\1"),
    (r"instrument_embedding\.weight", "embedding"),
    (r"mask\.in_conv", "narrow.weights"),
    (r"mask\.mask_output", "widen.weights"),
    (r"mask\.(norm|prelu)_1", r"input.\1"),
    (r"mask\.(norm|prelu)_2", r"before.\1"),
    (r"mask\.(norm|prelu)_3", r"after.\1"),
    (r"mask\.(norm|prelu)_4", r"output.\1"),
    (r"mask\.tcn\.(\d+)\.conv1d", r"blocks.\1.expand.weights"),
    (r"mask\.tcn\.(\d+)\.dconv1d", r"blocks.\1.depthwise.weights"),
    (r"mask\.tcn\.(\d+)\.res_out", r"blocks.\1.residual.weights"),
    (r"mask\.tcn\.(\d+)\.skip_out", r"blocks.\1.skip.weights"),
    (r"mask\.tcn\.(\d+)\.(norm|prelu)_1", r"blocks.\1.first.\2"),
    (r"mask\.tcn\.(\d+)\.(norm|prelu)_2", r"blocks.\1.second.\2"),
]
# the two maps of a generated layer
GENERATED = {"bottleneck": "squeeze", "kernel": "expand", "affine": "expand"}


def convert(state: Mapping[str, Tensor], *, targets: Sequence[str]) -> dict[str, Tensor]:
    """The state dict of `sepexp.model.meta_tasnet.MetaTasNet` with generated weights.

    Args:
        state: The released state dict, for drums, bass, other and vocals.
        targets: Names in the model's order.

    Raises:
        UserError: A key that the released network doesn't have; other targets.
    """
    order = places(DEMUCS, targets)
    converted = {}
    for key, value in state.items():
        if key.endswith("spectrogram.window"):
            continue
        name = _rename(key)
        if name.endswith(".embedding"):
            value = value[torch.tensor(order)]
        elif ".spectrogram." in name and value.dim() == 3 and "compress" not in name:
            value = value.flatten()  # (1, freq, 1)
        elif name.endswith("decoder.split.weight"):
            value = value.transpose(0, 1)  # theirs is a transposed convolution of one tap
        converted[name] = value
    return converted


def _rename(key: str) -> str:
    found = re.match(r"stages\.(\d+)\.(.*)", key)
    if found is None:
        raise UserError(f"{key} is no key of the released Meta-TasNet")
    for pattern, ours in LAYOUT:
        name, times = re.subn(f"^{pattern}(?=\\.|$)", ours, found[2])
        if times:
            for theirs, part in GENERATED.items():
                name = re.sub(rf"\.(weights|norm)\.{theirs}\.", rf".\1.{part}.", name)
            name = re.sub(r"\.norm\.", ".norm.weights.", name)
            return f"stages.{found[1]}.{name}"
    raise UserError(f"{key} is no key of the released Meta-TasNet")
