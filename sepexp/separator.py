"""The one LightningModule: it trains any architecture that keeps the contract.

What differs between systems is the model and the loss, and both are handed in, so there is
nothing left for a subclass to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from sepexp.inference import Inference, at_model, separate
from sepexp.metric.sdr import framewise_sdr
from sepexp.separation import Separation

Target = str | Mapping[str, Sequence[str]]


def target_names(targets: Sequence[Target]) -> list[str]:
    """The names of the targets: a stem's own, or that of a group such as {accompaniment: [...]}."""
    return [target if isinstance(target, str) else next(iter(target)) for target in targets]


def membership(sources: Sequence[str], targets: Sequence[Target]) -> Tensor:
    """Which sources sum to which target.

    Shape: (targets, sources), 0 or 1.
    """
    rows = [[t] if isinstance(t, str) else list(next(iter(t.values()))) for t in targets]
    return torch.tensor([[float(source in row) for source in sources] for row in rows])


class Separator(lightning.LightningModule):
    """Sum the stems, ask the model, compare, average over what is present, log.

    Args:
        model: Any module of the model contract.
        loss: (estimate, truth, mixture) -> (batch, targets).
        optimizer: Makes an optimizer from parameters.
        scheduler: The block of the config: `scheduler` makes one from an optimizer or is None,
            with `interval`, `frequency` and `monitor` beside it.
        sources: Names of the stems in the data, in its order.
        targets: What the model estimates, in its order: stems, or groups of them by a name.
        inference: How whole songs are cut when validating.
        sample_rate: Of the data, in Hz; the model may work at another.
    """

    members: Tensor

    def __init__(
        self,
        *,
        model: Any,
        loss: nn.Module,
        optimizer: Callable[..., torch.optim.Optimizer],
        scheduler: Mapping[str, Any],
        sources: Sequence[str],
        targets: Sequence[Target],
        inference: Inference,
        sample_rate: int,
    ) -> None:
        super().__init__()
        self.model, self.loss = model, loss
        if hasattr(model, "waveforms_in_training"):
            model.waveforms_in_training = getattr(loss, "needs_waveforms", True)
        self.optimizer, self.scheduler = optimizer, scheduler
        self.targets = target_names(targets)
        self.inference, self.sample_rate = inference, sample_rate
        self.register_buffer("members", membership(sources, targets), persistent=False)
        self.scores: dict[str, dict[str, float]] = {}

    def example(self, stems: Tensor) -> tuple[Tensor, Tensor]:
        """Stems of the data -> mixture and targets at the model's rate and channel count.

        Shape:
            (batch, sources, channels, samples) -> (batch, channels, samples) and
            (batch, targets, channels, samples).
        """
        mixture = at_model(stems.sum(dim=1), self.model, self.sample_rate)
        chosen = torch.einsum("ts,bscn->btcn", self.members, stems)
        return mixture, at_model(chosen, self.model, self.sample_rate)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """One step's loss; `batch` is already augmented, on the device and in float32."""
        mixture, chosen = self.example(batch.stems)
        context = self.model.context
        centre = slice(context, mixture.shape[-1] - context)
        mixture_centre, chosen = mixture[..., centre], chosen[..., centre]
        spectra = self.model.analyse(chosen) if hasattr(self.model, "analyse") else None
        losses = self.loss(self.model(mixture), Separation(chosen, spectra), mixture_centre)
        # a target is there only if all of its stems are: a missing stem is not a silent one
        missing = torch.einsum("ts,bs->bt", self.members, (~batch.present).float())
        loss = self._mean(losses, (missing == 0).float())
        self.log("train/loss", loss, prog_bar=True, batch_size=len(mixture))
        return loss

    def _mean(self, losses: Tensor, present: Tensor) -> Tensor:
        """Mean over what is present in all ranks together (their gradients are averaged)."""
        count = present.sum()
        if self.trainer.world_size > 1:
            count = self.trainer.strategy.reduce(count, reduce_op="mean")
        return torch.where(present > 0, losses, 0).sum() / count.clamp_min(1)

    def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Any] | None:
        """A whole song, separated as at the test; None for a rank's empty marker."""
        if not batch.name:
            return None
        estimate = separate(
            self.model, batch.mixture, sample_rate=self.sample_rate, inference=self.inference
        )
        truth = torch.einsum("ts,scn->tcn", self.members, batch.stems)
        present = (self.members @ (~batch.present).float()) == 0
        second = self.sample_rate
        frames = framewise_sdr(truth[present], estimate[present], second, second)
        medians = torch.nanquantile(frames.masked_fill(frames.isinf(), torch.nan), 0.5, dim=-1)
        names = [name for name, there in zip(self.targets, present.tolist(), strict=True) if there]
        self.scores[batch.name] = dict(zip(names, medians.tolist(), strict=True)) | {
            "l1": (estimate - truth)[present].abs().mean().item()
        }
        return {"name": batch.name, "mixture": batch.mixture, "truth": truth, "estimate": estimate}

    def on_validation_epoch_end(self) -> None:
        """Gather the songs' scores by name from all ranks and log their means.

        valid/sdr is the mean over songs and targets of the median framewise SDR; a target that is
        silent in a song does not count there.
        """
        scores = self.scores
        if self.trainer.world_size > 1:
            gathered: list[Any] = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(gathered, scores)
            scores = {name: row for part in gathered for name, row in part.items()}
        self.scores = {}
        rows = [scores[name] for name in sorted(scores)]
        by_target = {t: [row[t] for row in rows if t in row] for t in self.targets}
        values = {f"valid/sdr/{t}": _nanmean(found) for t, found in by_target.items()}
        values["valid/sdr"] = _nanmean([v for found in by_target.values() for v in found])
        values["valid/l1"] = _nanmean([row["l1"] for row in rows])
        for name, value in values.items():
            # the same number on every rank already
            self.log(name, value, prog_bar=name == "valid/sdr", rank_zero_only=False)

    def configure_optimizers(self) -> Any:
        """The optimizer and, where one is asked for, the schedule."""
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        if getattr(self.trainer.precision_plugin, "scaler", None) is None:
            optimizer = self.optimizer(parameters)
        else:  # a fused step would unscale the gradients itself, after they were clipped
            optimizer = self.optimizer(parameters, **_unfused(self.optimizer))
        block = dict(self.scheduler)
        make = block.pop("scheduler", None)
        if make is None:
            return optimizer
        block = {key: value for key, value in block.items() if value is not None}
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": make(optimizer), **block}}


def _unfused(optimizer: Any) -> dict[str, bool]:
    """What switches off a fused step, where the optimizer has one."""
    return {"fused": False} if getattr(optimizer, "keywords", {}).get("fused") else {}


def _nanmean(values: Sequence[float]) -> float:
    """Mean without the NaNs; NaN where nothing is left."""
    found = torch.tensor(values, dtype=torch.float64)
    return found[~found.isnan()].mean().item()
