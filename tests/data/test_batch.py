"""Tempo and pitch on the device: the examples of the workers' form, from batches as read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch

from sepexp.augmentation.chain import Augmentations
from sepexp.augmentation.gain import Gain
from sepexp.augmentation.mixup import Mixup
from sepexp.augmentation.pitch import Pitch
from sepexp.augmentation.remix import Remix
from sepexp.augmentation.swap import Swap
from sepexp.augmentation.tempo import Tempo
from sepexp.data.audit import render
from sepexp.data.batch import Batch, stretched
from sepexp.data.folder import Folder
from sepexp.data.module import Stream
from sepexp.data.sampling import Sampling
from sepexp.dsp.stretch_backends import SoundStretch

RATE = 8000
SOURCES = ("vocals", "drums", "bass")
LENGTH = 9000 + 2 * 20


@pytest.fixture
def make(tmp_path: Path, write_song: Callable) -> Callable[..., Stream]:
    """Streams over three songs of noise, the third one without vocals."""
    for name in ("train/a", "train/b", "valid/d", "test/e"):
        write_song(tmp_path / name, sources=SOURCES, frames=5 * RATE, rate=RATE)
    write_song(tmp_path / "train/c", sources=SOURCES[1:], frames=5 * RATE, rate=RATE)

    def stream(stretch_on: str, *, workers: int = 0, p: float = 0.7, **members: Any) -> Stream:
        return Stream(
            corpus=Folder(root=str(tmp_path), valid=None, test=None),
            store=None,
            augmentation=Augmentations(
                tempo=Tempo(p=p, deviation=0.05, limit=0.12),
                pitch=Pitch(p=p, semitones=2, untouched=["drums"], together=False),
                gain=Gain(low=0.25, high=1.25),
                swap=Swap(p=0.5),
                stretch_on=stretch_on,
                **members,
            ),
            sampling=Sampling(balanced=False, active=0, floor=-60),
            sources=SOURCES,
            sample_rate=RATE,
            channels=2,
            segment=9000 / RATE,
            context=20,
            batch_size=3,
            examples_per_epoch=12,
            num_workers=workers,
            prefetch=2,
            seed=1,
            valid_seconds=None,
            test_seconds=None,
        )

    return stream


def examples(stream: Stream) -> dict[int, tuple[torch.Tensor, ...]]:
    """What a training on a processor gets of an epoch."""
    found = {}
    try:
        for batch in stream.train_dataloader():
            moved = stream.transfer_batch_to_device(batch, torch.device("cpu"), 0)
            done = stream.on_after_batch_transfer(moved, 0)
            assert not {"tempo", "semitones"} & set(done.numbers)  # nobody shall do it again
            for row, index in enumerate(done.index.tolist()):
                parts = done.stems[row], done.present[row], done.songs[row], done.numbers["gain"]
                found[index] = tuple(part.clone() for part in (*parts[:3], parts[3][row]))
    finally:
        stream.teardown()
    return found


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("members", [{}, {"remix": Remix(p=1)}], ids=["together", "remixed"])
def test_examples_equal_the_workers_form(
    make: Callable[..., Stream], workers: int, members: dict[str, Any]
) -> None:
    worker = examples(make("worker", **members))
    device = examples(make("device", workers=workers, **members))
    assert list(worker) == list(device) == list(range(12))
    lacking = 0
    for index, (stems, present, *rest) in worker.items():
        ours, there, *others = device[index]
        assert ours.shape == stems.shape == (3, 2, LENGTH) and ours.dtype == torch.float32
        assert torch.equal(present, there)
        assert all(torch.equal(a, b) for a, b in zip(rest, others, strict=True))
        # the workers' form is rounded to 16 bits after the change; another splice would differ by
        # as much as the noise, 6 % of full scale
        assert (ours - stems).abs().max() < 1e-4
        assert not ours[~present].any()
        lacking += int((~present).sum())
    assert lacking > 0 or members


def test_second_stems_are_added_before_the_device_changes_them(
    make: Callable[..., Stream],
) -> None:
    members = {"remix": Remix(p=1), "mixup": Mixup(p=0.5, low=0.5, high=1)}
    worker, device = (examples(make(place, **members)) for place in ("worker", "device"))
    for index, (stems, *_) in worker.items():
        assert (device[index][0] - stems).abs().max() < 1e-4


def test_chunks_are_shipped_as_read_with_zeros_behind_them(make: Callable[..., Stream]) -> None:
    made = make("device").chunks()
    room = made.room(1)
    room.stems[:] = 7  # of a batch before
    for index in range(12):
        plan = made.draw(index, 0)
        made.fill(plan, room, 0)
        for source, read in enumerate(plan.reads):
            stem = room.stems[0, source]
            if room.present[0, source]:
                song = made.tracks[read.song].read(SOURCES[source], read.start, read.frames)
                assert np.array_equal(stem[:, : read.frames], song)
                assert not stem[:, read.frames :].any()
                assert room.numbers["tempo"].view(np.float64)[0, source] == plan.tempo[source]
                steps = room.numbers["semitones"].view(np.float64)[0, source]
                assert steps == plan.semitones[source]
            else:
                assert not stem.any()
                assert room.numbers["tempo"].view(np.float64)[0, source] == 1


def test_rooms_hold_whatever_may_be_drawn_and_little_more(make: Callable[..., Stream]) -> None:
    made = make("device", p=1).chunks()
    longest = max(read.frames for index in range(2000) for read in made.draw(index, 0).reads)
    assert made.length < longest <= made.width == made.room(1).stems.shape[-1]
    assert made.width < 1.12 * made.length + 6000
    assert make("worker").chunks().width == make("device").chunks(finished=True).width == LENGTH


def test_finished_examples_are_changed_where_they_are_read(make: Callable[..., Stream]) -> None:
    device, worker = (make(place).chunks(finished=True) for place in ("device", "worker"))
    assert device.numbers == worker.numbers
    assert np.array_equal(device[1].stems, worker[1].stems)


def test_a_program_stretches_in_every_worker_alike(
    make: Callable[..., Stream], tmp_path: Path
) -> None:
    echo = tmp_path / "echo"  # gives back what it gets, which is long enough
    echo.write_text("#!/bin/sh\nexec cat\n")
    echo.chmod(0o755)
    program = SoundStretch(sample_rate=RATE, program=str(echo))
    here, there = (examples(make("worker", workers=n, stretch=program)) for n in (0, 1))
    ours = examples(make("worker"))
    assert list(here) == list(there) == list(ours)
    for index, (stems, *_) in here.items():
        assert stems.shape == (3, 2, LENGTH) and torch.equal(stems, there[index][0])
    assert any(not torch.equal(here[index][0], ours[index][0]) for index in here)


def test_before_and_after_are_equally_long(make: Callable[..., Stream]) -> None:
    heard = render(make("device", p=1), 0)
    assert heard.before.shape == heard.after.shape == (3, 2, LENGTH)


def test_what_is_not_left_to_the_device_passes() -> None:
    stems = torch.zeros(1, 2, 2, 50)
    assert stretched(stems, {"scale": torch.ones(1, 2)}, 50) is stems
    bits = torch.from_numpy(np.array([[[1.0, 1.0]], [[0.0, 0.0]]]).view(np.int64))
    out = stretched(stems, {"tempo": bits[0], "semitones": bits[1]}, 40)
    assert out.shape == (1, 2, 2, 40) and out.is_contiguous()


class Heard(lightning.LightningModule):
    """Keeps what arrives."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.batches: list[torch.Tensor] = []

    def training_step(self, batch: Batch, number: int) -> torch.Tensor:
        self.batches.append(batch.stems.clone())
        return (self.weight * batch.stems.mean()).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("precision", ["32-true", "bf16-true"])
def test_a_training_gets_them_at_any_precision(
    make: Callable[..., Stream], precision: Any, tmp_path: Path
) -> None:
    def heard(place: str) -> torch.Tensor:
        model = Heard()
        lightning.Trainer(
            accelerator="cpu", precision=precision, max_epochs=1, limit_val_batches=0,
            limit_train_batches=2, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
        ).fit(model, make(place))  # fmt: skip
        return torch.stack(model.batches).float()

    worker, device = heard("worker"), heard("device")
    # bfloat16 keeps 8 bits of stems below 0.5 and rounds the gain, which has up to 1.25, before
    # it is applied; tempos rounded so would make different splices
    near = 1e-4 if precision == "32-true" else 4e-3
    assert worker.shape == device.shape and (worker - device).abs().max() < near


@pytest.mark.gpu
def test_a_gpu_gives_the_same_examples(make: Callable[..., Stream]) -> None:
    here, there = make("device"), make("device")
    batch = next(iter(here.train_dataloader()))
    cpu = here.on_after_batch_transfer(batch, 0)
    moved = there.transfer_batch_to_device(batch, torch.device("cuda"), 0)
    assert moved.numbers["tempo"].device.type == "cpu"
    gpu = there.on_after_batch_transfer(moved, 0)
    here.teardown()
    torch.testing.assert_close(gpu.stems.cpu(), cpu.stems, atol=1e-5, rtol=0)
