"""The data module of a composed config: commands, training and tests make it here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from sepexp import build
from sepexp.data.store import Store


def make_stream(
    config: Mapping[str, Any], model: nn.Module | None = None, *, augmented: bool = False
) -> Any:
    """The stream, reading as much context on both sides of a chunk as the model asks for.

    Args:
        config: The composed config.
        model: Who will read the chunks; None where only whole songs are read.
        augmented: Chunks are read although there is no model, without context.
    """
    settings = dict(config["data"])
    store = Store(form=settings.pop("store"), folder=settings.pop("store_dir"), processes=None)
    context, augmentation = 0, None
    if model is not None:
        context = math.ceil(model.context * config["sample_rate"] / model.sample_rate)
    if model is not None or augmented:
        augmentation = build.instantiate(config["augmentation"], where="augmentation")
    return build.instantiate(
        settings, where="data", augmentation=augmentation, context=context, store=store
    )
