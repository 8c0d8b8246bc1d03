"""What Lightning's checkpoint leaves out of an exact resume."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor


class RandomState(Callback):
    """Save torch's random state of every rank, and set it again when a run goes on.

    Without it dropout differs after a resume. The data stream needs no state: an example is a
    function of the seed, the epoch and its number.
    """

    def __init__(self) -> None:
        self.restored: list[dict[str, Tensor]] | None = None

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: Any, checkpoint: dict[str, Any]
    ) -> None:
        """Called on all ranks; every rank's state goes into the one file."""
        state = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_available() and pl_module.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(pl_module.device)
        states: list[Any] = [state]
        if trainer.world_size > 1:
            states = [None] * trainer.world_size
            torch.distributed.all_gather_object(states, state)
        checkpoint["random_state"] = states

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: Any, checkpoint: Mapping[str, Any]
    ) -> None:
        """Keep the states until training starts, after the sanity check has drawn from them."""
        self.restored = checkpoint.get("random_state")

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Set this rank's state."""
        if self.restored is None or trainer.global_rank >= len(self.restored):
            return
        state = self.restored[trainer.global_rank]
        torch.set_rng_state(state["cpu"].cpu())
        if "cuda" in state and pl_module.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda"].cpu(), pl_module.device)
        self.restored = None


class Passport(Callback):
    """Write the composed config and the order of the targets into every checkpoint.

    Plain Python and tensors only, so that the file loads with `weights_only=True`.
    """

    def __init__(self, *, config: Mapping[str, Any], targets: list[str]) -> None:
        self.config, self.targets = dict(config), list(targets)

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: Any, checkpoint: dict[str, Any]
    ) -> None:
        """Add `sepexp` to the file."""
        checkpoint["sepexp"] = {"config": self.config, "targets": self.targets}
