"""The bar that says how far, how good and how long yet."""

from __future__ import annotations

import time
from typing import Any

import lightning
from lightning.pytorch.callbacks import TQDMProgressBar


class ProgressBar(TQDMProgressBar):
    """Lightning's bar with the loss, the validation SDR and the time left for the whole run."""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Start the clock."""
        super().on_train_start(trainer, pl_module)
        self.started, self.first_step = time.monotonic(), trainer.global_step

    def get_metrics(self, trainer: lightning.Trainer, pl_module: Any) -> dict[str, Any]:
        """Loss and SDR by short names, and what is left of the run."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        short = {"train/loss": "loss", "valid/sdr": "SDR"}
        shown = {short.get(key, key): value for key, value in metrics.items()}
        left = self._seconds_left(trainer)
        if left is not None:
            minutes, seconds = divmod(round(left), 60)
            hours, minutes = divmod(minutes, 60)
            shown["left"] = f"{hours}:{minutes:02d}:{seconds:02d}"
        return shown

    def _seconds_left(self, trainer: lightning.Trainer) -> float | None:
        """By the mean time of a step so far, validations included."""
        done = trainer.global_step - getattr(self, "first_step", 0)
        total = trainer.estimated_stepping_batches if trainer.state.fn == "fit" else float("inf")
        if done <= 0 or total == float("inf"):
            return None
        elapsed = time.monotonic() - self.started
        return elapsed / done * max(0.0, total - trainer.global_step)
