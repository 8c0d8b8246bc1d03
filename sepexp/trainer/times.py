"""Where the time of a training step goes, and what to change."""

from __future__ import annotations

import csv
import math
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from sepexp.data.cores import cores

ROOM = 0.15  # share of a step from which on anything but computing is worth a change
COLUMNS = ("epoch", "steps", "step", "waiting", "copying", "computing", "logging", "binds")


class Split(NamedTuple):
    """Mean milliseconds of a step; on a GPU the parts can sum to more, because they overlap."""

    step: float
    waiting: float
    copying: float
    computing: float
    logging: float

    def shares(self) -> dict[str, float]:
        """Of the parts' sum, by name."""
        parts = {name: getattr(self, name) for name in ("waiting", "copying", "computing")}
        parts["logging"] = self.logging
        total = sum(parts.values()) or 1.0
        return {name: value / total for name, value in parts.items()}

    def binds(self) -> str:
        """The part that a change should begin with."""
        others = {name: share for name, share in self.shares().items() if name != "computing"}
        worst = max(others, key=lambda name: others[name])
        return worst if others[worst] > ROOM else "computing"


class StepTimes(Callback):
    """Split each step into waiting for data, copying, computing and logging.

    Copying is all that lies between the loader and the step: the transfer, floats, pointwise
    augmentation. Computing is forward, backward and optimizer. Logging is the rest: loggers,
    checkpoints, other callbacks; validations are left out.

    A GPU works beside the program, so there the split comes from every `every`-th step alone, with
    the device waited for before and after each part; `step` is the mean over all steps. The first
    step of a start counts nowhere: it starts workers and chooses kernels.

    The figures are logged once an epoch as `time/...` in ms, kept in `times.csv` of the run
    folder, and said in one line after the first epoch.

    Args:
        folder: The run folder.
        every: Steps from one measured step on a GPU to the next.
    """

    def __init__(self, *, folder: str, every: int) -> None:
        self.path, self.every = Path(folder) / "times.csv", max(2, every)
        self.said = False
        self.first = True  # the next step is the first of this start
        self.measured = False  # the next step is one that a GPU is waited for
        self.steps = self.count = 0  # of the epoch; of these the measured ones
        self.total = self.away = 0.0  # seconds of all steps; of validations since the last step
        self.sums = [0.0] * 4  # seconds of the measured steps' parts
        self.ended = self.started = self.stopped = self.waited = 0.0

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Begin an epoch's figures."""
        self.measured, self.steps, self.count = False, 0, 0
        self.total, self.away, self.sums = 0.0, 0.0, [0.0] * 4
        self.waited = _waited(trainer)
        self.ended = time.perf_counter()

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """The batch is on the device: what lay before was logging, waiting and copying."""
        if self.measured:
            _synchronise(trainer)
        self.started = time.perf_counter()
        waited = _waited(trainer)
        self.waiting, self.waited = waited - self.waited, waited
        self.copying = self.started - getattr(trainer.datamodule, "arrived", self.started)  # type: ignore[attr-defined]
        between = self.started - self.ended - self.away
        self.logging = max(0.0, between - self.waiting - self.copying)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The step is done, or on a GPU at least asked for."""
        if self.measured:
            _synchronise(trainer)
        now = time.perf_counter()
        if not self.first:
            self.steps += 1
            self.total += now - self.ended - self.away
            if self.measured or _is_cpu(trainer):
                parts = (self.waiting, self.copying, now - self.started, self.logging)
                self.sums = [old + new for old, new in zip(self.sums, parts, strict=True)]
                self.count += 1
        self.first = False
        self.measured = not _is_cpu(trainer) and self.steps % self.every == 1
        if self.measured:  # the next step starts with nothing left to do for the device
            _synchronise(trainer)
        self.ended, self.away = time.perf_counter(), 0.0

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Stop the clock."""
        self.stopped = time.perf_counter()

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Let it run again."""
        self.away += time.perf_counter() - self.stopped

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Log, keep and, once, say the figures of this rank's epoch."""
        split = self.split()
        if split is None or trainer.global_rank > 0 or not hasattr(trainer.datamodule, "waited"):  # type: ignore[attr-defined]
            return
        for name, value in split._asdict().items():
            pl_module.log(f"time/{name}", value, rank_zero_only=True)
        self._keep(trainer.current_epoch, split)
        if not self.said:
            self.said = True
            _say(trainer, sentence(split, trainer))

    def split(self) -> Split | None:
        """The epoch's means so far; None before a step was measured."""
        if not self.count:
            return None
        waiting, copying, computing, logging = (1e3 * s / self.count for s in self.sums)
        return Split(1e3 * self.total / self.steps, waiting, copying, computing, logging)

    def _keep(self, epoch: int, split: Split) -> None:
        """A row in the table; what a resumed run does again is written over."""
        rows: list[list[str]] = []
        if self.path.is_file():
            with self.path.open(newline="") as file:
                rows = [r for r in list(csv.reader(file))[1:] if r and int(r[0]) < epoch]
        numbers = [f"{value:.3f}" for value in split]
        rows.append([str(epoch), str(self.steps), *numbers, split.binds()])
        self.path.parent.mkdir(parents=True, exist_ok=True)
        aside = self.path.with_name(f".times.{os.getpid()}")
        with aside.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
        aside.replace(self.path)


def sentence(split: Split, trainer: Any) -> str:
    """What binds and what to change, in one line."""
    words = {"waiting": "waiting for data"}
    shares, binds = split.shares(), split.binds()
    parts = ", ".join(f"{share:.0%} {words.get(part, part)}" for part, share in shares.items())
    advice = {
        "waiting": lambda: _more_workers(split, trainer),
        "copying": lambda: _faster_copies(trainer),
        "logging": lambda: (
            "raise trainer.log_every_n_steps or trainer.callbacks.last.every_n_train_steps, "
            "or set trainer.logger.tensorboard=null"
        ),
        "computing": lambda: (
            "a GPU or a smaller model helps, not the data"
            if _is_cpu(trainer)
            else "trainer.precision=bf16-mixed or compile=true may help, not the data"
        ),
    }[binds]()
    name = words.get(binds, binds)
    verdict = "binds" if shares[binds] == max(shares.values()) else "costs more than it need"
    return f"a step takes {split.step:.3g} ms ({parts}): {name} {verdict}; {advice}"


def _more_workers(split: Split, trainer: Any) -> str:
    """As many as would read a batch in the time that the rest of a step takes."""
    workers = int(getattr(trainer.datamodule, "num_workers", 0))
    rest = max(1e-6, split.copying + split.computing + split.logging)
    # without workers all of the waiting is reading; with them reading goes on all the time
    reading = (split.waiting + rest) * workers if workers else split.waiting
    share = max(1, cores() // trainer.num_devices)
    most = share - 1 if _is_cpu(trainer) else share
    wanted = min(math.ceil(reading / rest), most)
    if wanted > workers:
        return f"set data.num_workers={wanted} (now {workers})"
    return (
        f"data.num_workers={workers} is what the cores here ({share} a process) bear: lower the p "
        "of augmentation.tempo and pitch; python -m sepexp data doctor says what costs"
    )


def _faster_copies(trainer: Any) -> str:
    if _is_cpu(trainer):
        return "an augmentation of your own is applied between the steps: give it a fold method"
    return "let batches be locked in memory (ulimit -l unlimited), or shorten data.segment"


def _waited(trainer: Any) -> float:
    return float(getattr(trainer.datamodule, "waited", 0.0))


def _is_cpu(trainer: Any) -> bool:
    return trainer.strategy.root_device.type == "cpu"


def _synchronise(trainer: Any) -> None:
    torch.accelerator.synchronize(trainer.strategy.root_device)


def _say(trainer: Any, line: str) -> None:
    """Above the progress bar where there is one."""
    bar = trainer.progress_bar_callback
    if bar is not None and bar.is_enabled:
        bar.print(line)
    else:
        print(line, flush=True)
