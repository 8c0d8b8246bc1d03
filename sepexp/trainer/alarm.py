"""Stop a run whose loss is no number any more."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from sepexp.errors import UserError


class FiniteLoss(Callback):
    """End the run with the step and the songs at the first loss that is NaN or infinite."""

    def __init__(self) -> None:
        self.batch: Any = None

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Remember what the loss is made of."""
        self.batch = batch

    def on_before_backward(self, trainer: lightning.Trainer, pl_module: Any, loss: Tensor) -> None:
        """Look at the loss before it reaches the weights."""
        if bool(torch.isfinite(loss)):
            return
        names = trainer.datamodule.track_names(self.batch.songs.flatten())  # type: ignore[attr-defined]
        songs = ", ".join(sorted(set(names)))
        raise UserError(
            f"the loss is {loss.item()} at step {trainer.global_step} (epoch "
            f"{trainer.current_epoch}), on chunks of {songs}: try a lower optimizer.lr, "
            "trainer.gradient_clip_val=5, trainer.precision=32-true, or look at those songs; "
            "the last good checkpoint is in the run folder"
        )
