"""Exponential moving average of the weights."""

from __future__ import annotations

from lightning.pytorch.callbacks import EMAWeightAveraging


def ema(*, decay: float | None, update_every_n_steps: int) -> EMAWeightAveraging | None:
    """A callback that averages, validates with the average and saves it; None without a decay.

    In a checkpoint `state_dict` holds the average and `current_model_state` the raw weights.

    Args:
        decay: Weight of the past at an update, under 1.
        update_every_n_steps: Optimizer steps between updates.
    """
    if decay is None:
        return None
    return EMAWeightAveraging(decay=decay, update_every_n_steps=update_every_n_steps)
