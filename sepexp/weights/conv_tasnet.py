"""Public Conv-TasNet checkpoints: Demucs 1 and 2 (music), torchaudio and Asteroid (speech)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

from sepexp.errors import UserError
from sepexp.weights import order

# each layout: (pattern of their key, our key); \1 is the block's number
BLOCK = r"masks.blocks.\1."
TORCHAUDIO = [
    (r"mask_generator\.input_norm", "masks.input_norm"),
    (r"mask_generator\.input_conv", "masks.bottleneck"),
    (r"mask_generator\.conv_layers\.(\d+)\.conv_layers\.([012])\b", BLOCK + r"expand.\2"),
    (r"mask_generator\.conv_layers\.(\d+)\.conv_layers\.3", BLOCK + "depthwise"),
    (r"mask_generator\.conv_layers\.(\d+)\.conv_layers\.4", BLOCK + "activate.0"),
    (r"mask_generator\.conv_layers\.(\d+)\.conv_layers\.5", BLOCK + "activate.1"),
    (r"mask_generator\.conv_layers\.(\d+)\.res_out", BLOCK + "residual"),
    (r"mask_generator\.conv_layers\.(\d+)\.skip_out", BLOCK + "skip"),
    (r"mask_generator\.output_prelu", "masks.head_prelu"),
    (r"mask_generator\.output_conv", "masks.head"),
    (r"(encoder|decoder)(?=\.weight)", r"\1"),
]
ASTEROID = [
    (r"(encoder|decoder)\.filterbank\._filters", r"\1.weight"),
    (r"masker\.bottleneck\.0", "masks.input_norm"),
    (r"masker\.bottleneck\.1", "masks.bottleneck"),
    (r"masker\.TCN\.(\d+)\.shared_block\.([012])\b", BLOCK + r"expand.\2"),
    (r"masker\.TCN\.(\d+)\.shared_block\.3", BLOCK + "depthwise"),
    (r"masker\.TCN\.(\d+)\.shared_block\.4", BLOCK + "activate.0"),
    (r"masker\.TCN\.(\d+)\.shared_block\.5", BLOCK + "activate.1"),
    (r"masker\.TCN\.(\d+)\.res_conv", BLOCK + "residual"),
    (r"masker\.TCN\.(\d+)\.skip_conv", BLOCK + "skip"),
    (r"masker\.mask_net\.0", "masks.head_prelu"),
    (r"masker\.mask_net\.1", "masks.head"),
]
DEMUCS = [
    (r"encoder\.conv1d_U", "encoder"),
    (r"decoder\.basis_signals", "decoder"),
    (r"separator\.network\.0", "masks.input_norm"),
    (r"separator\.network\.1", "masks.bottleneck"),
    (r"separator\.network\.2\.(\d+)\.net\.([012])\b", BLOCK + r"expand.\2"),
    (r"separator\.network\.2\.(\d+)\.net\.3\.net\.0", BLOCK + "depthwise"),
    (r"separator\.network\.2\.(\d+)\.net\.3\.net\.1", BLOCK + "activate.0"),
    (r"separator\.network\.2\.(\d+)\.net\.3\.net\.2", BLOCK + "activate.1"),
    (r"separator\.network\.2\.(\d+)\.net\.3\.net\.3", BLOCK + "residual"),
    (r"separator\.network\.3", "masks.head"),
]


def convert(
    state: Mapping[str, Tensor], *, channels: int, targets: Sequence[str]
) -> dict[str, Tensor]:
    """The state dict of `sepexp.model.conv_tasnet.ConvTasNet` from a public one.

    Args:
        state: In the layout of demucs 1 or 2, torchaudio or Asteroid; which one shows in its keys.
        channels: Of the audio: demucs keeps them in one matrix with the samples.
        targets: Names in the model's order. Those of demucs have names; torchaudio's and
            Asteroid's speakers are just first and second.

    Raises:
        UserError: A key belongs to none of these layouts; other targets than in demucs.
    """
    keys = set(state)
    if any(key.startswith("mask_generator.") for key in keys):
        return {_rename(key, TORCHAUDIO): value for key, value in state.items()}
    if any(key.startswith("masker.") for key in keys):
        return {_rename(key, ASTEROID): value for key, value in state.items()}
    repeat = re.compile(r"separator\.network\.2\.(\d+)\.(\d+)\.")
    numbers = [tuple(map(int, found.groups())) for found in map(repeat.match, keys) if found]
    blocks = max((block for _, block in numbers), default=0) + 1
    converted = {}
    for key, value in state.items():
        found = repeat.match(key)
        if found:  # repeats and blocks count on in one row
            index = int(found[1]) * blocks + int(found[2])
            key = f"separator.network.2.{index}.{key[found.end() :]}"
        name = _rename(key, DEMUCS)
        if name == "decoder.weight":  # (channels * kernel, bases)
            value = value.unflatten(0, (channels, -1)).permute(2, 0, 1).contiguous()
        elif ".gamma" in key or ".beta" in key:
            value = value.flatten()
        elif name == "masks.head.weight":
            value = order.reorder(value, order.places(order.DEMUCS, targets), dim=0)
        converted[name] = value
    return converted


def _rename(key: str, layout: list[tuple[str, str]]) -> str:
    for pattern, ours in layout:
        name, times = re.subn(f"^{pattern}", ours, key)
        if times:
            return name.replace(".gamma", ".weight").replace(".beta", ".bias")
    raise UserError(f"{key} is no key of a Conv-TasNet from demucs, torchaudio or Asteroid")
