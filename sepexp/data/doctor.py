"""What each stage of the training stream costs, measured by itself and without a model."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from sepexp.data.batch import Batch, view
from sepexp.data.chunks import Chunks, Plan
from sepexp.data.cores import cores
from sepexp.data.loader import Loader
from sepexp.data.module import Stream

PLANS = 512  # examples at most that a stage is measured on
COLD = 3.0  # times the second reading: then the first one waited for a disk
SLOW = 3e-9  # seconds for one number of a stem: no form that is mapped takes that long
MOST = 8  # workers that are ever advised


class Findings(NamedTuple):
    """Seconds an example. Stages that a config doesn't have take 0.

    first: The first reading, maybe from a disk; the other figures find all in memory.
    finish: To floats and pointwise augmentation, where the chunks are read or on the device.
    together: Through the loader with its workers, all that happens before the transfer.
    """

    draw: float
    first: float
    read: float
    stretch: float
    finish: float
    copy: float
    together: float
    on_device: bool  # whether `finish` happens after the transfer
    batch_size: int
    workers: int
    cores: int
    numbers: int  # samples of all stems and channels of an example
    other_rate: int  # of songs that are resampled where they are read, Hz; 0: there are none

    @property
    def reading(self) -> float:
        """Work for an example in the process that reads it."""
        return self.draw + self.read + self.stretch + (0 if self.on_device else self.finish)


def examine(stream: Stream, *, device: torch.device, seconds: float) -> Findings:
    """Measure the stages one after the other.

    Args:
        stream: Prepared.
        device: Where a training would compute.
        seconds: For each stage, about.

    Raises:
        UserError: The songs can't be read.
    """
    on_device = device.type != "cpu" or not stream.finishes
    raw, chunks = stream.chunks(), stream.chunks(finished=not on_device)
    plans: list[Plan] = []
    raw.draw(0, 0)  # whatever only the first draw of all takes
    draw = _timed(lambda n: plans.append(raw.draw(n, 0)), PLANS, seconds)
    bare = [plain(raw, plan) for plan in plans]
    room, finished = raw.room(1), chunks.room(1)
    raw.fill(bare[0], room, 0)  # opens the files, takes the pages of the room
    first = _timed(lambda n: raw.fill(bare[n], room, 0), len(bare), seconds)
    read = _timed(lambda n: raw.fill(bare[n], room, 0), len(bare), seconds)
    changed = sum(_is_changed(plan) for plan in plans)
    stretch = 0.0
    if changed:
        stretch = max(
            0.0, _timed(lambda n: raw.fill(plans[n], room, 0), len(plans), seconds) - read
        )
    if on_device:
        copy, finish = _device(stream, raw, plans, device, seconds)
    else:
        copy = 0.0
        chunks.fill(bare[0], finished, 0)
        both = _timed(lambda n: chunks.fill(bare[n], finished, 0), len(bare), seconds)
        finish = max(0.0, both - read)
    return Findings(
        draw=draw,
        first=first,
        read=read,
        stretch=stretch,
        finish=finish,
        copy=copy,
        together=_together(stream, chunks, device, seconds),
        on_device=on_device,
        batch_size=stream.batch_size,
        workers=stream.num_workers,
        cores=cores(),
        numbers=len(raw.sources) * raw.channels * raw.length,
        other_rate=next((t.rate for t in raw.tracks if t.rate != raw.sample_rate), 0),
    )


def plain(chunks: Chunks, plan: Plan) -> Plan:
    """The same songs and places with nothing done to them on the way."""
    sources = len(chunks.sources)
    return dataclasses.replace(
        plan,
        reads=tuple(read._replace(frames=chunks.length) for read in plan.reads),
        seconds=(None,) * sources,
        levels=np.zeros(sources),
        tempo=np.ones(sources),
        semitones=np.zeros(sources),
    )


def advice(found: Findings) -> str:
    """What binds, what to change and how fast a training may be, in one line."""
    spare = found.together * found.batch_size * 1e3
    device = (found.copy + found.finish) if found.on_device else 0.0
    free = (
        f"a step on {found.batch_size} examples that takes over "
        f"{max(spare, device * found.batch_size * 1e3):.3g} ms never waits for data"
    )
    if device > found.together:
        what = "copying" if found.copy > found.finish else "augmentation on the device"
        return f"{what} binds, more workers change nothing; {free}"
    if found.first > COLD * found.read and found.first > found.reading:
        return (
            "the disk binds while songs are read for the first time: put data.store_dir on a "
            f"faster one, or have memory for all songs; {free}"
        )
    costs = {
        "pitch and tempo": found.stretch,
        "reading": found.read,
        "drawing": found.draw,
        "floats and augmentation": 0.0 if found.on_device else found.finish,
    }
    what = max(costs, key=lambda name: costs[name])
    share = costs[what] / found.reading
    return f"{what} binds ({share:.0%} of the work): {_change(found, what)}; {free}"


def _change(found: Findings, what: str) -> str:
    if what == "reading" and found.other_rate:
        return (
            f"songs at {found.other_rate} Hz are resampled at every reading, convert the files once"
        )
    if what == "reading" and found.read > SLOW * found.numbers:
        return "the files are slow to read, set data.store=auto"
    most = min(MOST, max(1, found.cores - (found.copy == 0)))
    if most > found.workers:
        rate = most / found.reading
        return f"set data.num_workers={most} (now {found.workers}) for some {rate:.0f} a second"
    if what == "pitch and tempo":
        return "lower augmentation.tempo.p and augmentation.pitch.p"
    return (
        f"data.num_workers={found.workers} is what the {found.cores} core(s) here bear, "
        "more cores would help"
    )


def _timed(work: Callable[[int], object], most: int, seconds: float) -> float:
    """Mean seconds a call, of at most `most` calls or so many as take `seconds`."""
    began = time.perf_counter()
    for number in range(most):
        work(number)
        spent = time.perf_counter() - began
        if spent > seconds:
            break
    return spent / (number + 1)


def _is_changed(plan: Plan) -> bool:
    return bool((plan.tempo != 1).any() or (plan.semitones != 0).any())


def _device(
    stream: Stream, chunks: Chunks, plans: list[Plan], device: torch.device, seconds: float
) -> tuple[float, float]:
    """Copying a batch, then floats and augmentation; the device is waited for."""
    size = stream.batch_size
    room = chunks.room(size)
    for row in range(size):
        chunks.fill(plans[row % len(plans)], room, row)
    batch = view(room)
    if device.type == "cuda":
        batch = _mapped(batch, lambda tensor: tensor.pin_memory())
    moved = batch

    def copy(_: int) -> None:
        nonlocal moved
        moved = _mapped(batch, lambda tensor: tensor.to(device, non_blocking=True))
        _synchronise(device)

    def finish(_: int) -> None:
        stream.on_after_batch_transfer(moved, 0)
        _synchronise(device)

    copy(0)  # the first of each chooses kernels and takes memory
    finish(0)
    copying = _timed(copy, 20, seconds) / size if device.type != "cpu" else 0.0
    return copying, _timed(finish, 20, seconds) / size


def _mapped(batch: Batch, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
    numbers = {name: change(values) for name, values in batch.numbers.items()}
    return batch._replace(stems=change(batch.stems), present=change(batch.present), numbers=numbers)


def _together(stream: Stream, chunks: Chunks, device: torch.device, seconds: float) -> float:
    """An example's share of the time between batches, when nobody does anything with them."""
    loader = Loader(
        chunks,
        batch_size=stream.batch_size,
        rank=0,
        world=1,
        workers=stream.num_workers,
        prefetch=stream.prefetch,
        position=lambda: (0, 0),
        pinned=device.type == "cuda",
    )
    # what was read ahead before the clock started must not count as read in no time
    ahead = 1 + (stream.prefetch if stream.num_workers else 0)
    began, count = 0.0, 0
    try:
        for _ in range(100):
            for _ in loader:
                count += 1
                now = time.perf_counter()
                if count == ahead:
                    began = now
                elif count > 2 * ahead and now - began > seconds:
                    return (now - began) / (count - ahead) / stream.batch_size
        return (now - began) / max(1, count - ahead) / stream.batch_size
    finally:
        loader.close()


def _synchronise(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
