"""Where a step's time goes: the split, the advice, and that measuring changes nothing."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning
import pytest
import torch
from fake_songs import SOURCES, FakeCorpus, FakeSong, songs

from sepexp.augmentation.chain import Augmentations
from sepexp.augmentation.gain import Gain
from sepexp.data.module import Stream
from sepexp.data.sampling import Sampling
from sepexp.trainer import times
from sepexp.trainer.times import Split, StepTimes, sentence


class Clock:
    """Time that passes only where a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def passes(self, seconds: float) -> None:
        self.now += seconds


def fake(device: str = "cpu", **data: Any) -> Any:
    return SimpleNamespace(
        datamodule=SimpleNamespace(**({"waited": 0.0, "arrived": 0.0, "num_workers": 0} | data)),
        strategy=SimpleNamespace(root_device=torch.device(device)),
        global_rank=0,
        num_devices=1,
        current_epoch=0,
        progress_bar_callback=None,
    )


class Log:
    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def log(self, name: str, value: float, **_: Any) -> None:
        self.values[name] = value


def step(
    one: StepTimes, trainer: Any, clock: Clock, parts: tuple[float, float, float, float]
) -> None:
    """A step of the loop: the last one's logging, then waiting, copying, computing."""
    waiting, copying, computing, logging = parts
    clock.passes(logging + waiting)
    trainer.datamodule.waited += waiting
    trainer.datamodule.arrived = clock.now
    clock.passes(copying)
    one.on_train_batch_start(trainer, None, None, 0)
    clock.passes(computing)
    one.on_train_batch_end(trainer, None, None, None, 0)


def test_a_step_is_split_without_validations_and_without_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock, trainer, log = Clock(monkeypatch), fake(), Log()
    monkeypatch.setattr(times, "cores", lambda: 8)
    one = StepTimes(folder=str(tmp_path), every=50)
    one.on_train_epoch_start(trainer, log)
    step(one, trainer, clock, (9.0, 9.0, 9.0, 9.0))
    step(one, trainer, clock, (0.6, 0.01, 0.2, 0.03))
    one.on_validation_start(trainer, log)
    clock.passes(77)
    one.on_validation_end(trainer, log)
    step(one, trainer, clock, (0.4, 0.03, 0.4, 0.01))
    one.on_train_epoch_end(trainer, log)
    assert log.values == pytest.approx(
        {
            "time/step": 840.0,
            "time/waiting": 500.0,
            "time/copying": 20.0,
            "time/computing": 300.0,
            "time/logging": 20.0,
        }
    )
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "840 ms" in said and "60% waiting for data" in said
    # reading takes 500 ms, everything else 340: two workers read a batch in 250
    assert "waiting for data binds; set data.num_workers=2" in said
    trainer.current_epoch = 1
    one.on_train_epoch_start(trainer, log)
    step(one, trainer, clock, (0.0, 0.0, 0.5, 0.0))
    one.on_train_epoch_end(trainer, log)
    assert capsys.readouterr().out == ""  # once is enough
    assert log.values["time/computing"] == pytest.approx(500)
    rows = list(csv.DictReader((tmp_path / "times.csv").open()))
    assert [(r["epoch"], r["steps"], r["binds"]) for r in rows] == [
        ("0", "2", "waiting"),
        ("1", "1", "computing"),
    ]


def test_a_gpu_is_waited_for_at_few_steps_and_only_these_are_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, trainer = Clock(monkeypatch), fake("cuda:1")
    queued = [0.0]  # seconds of work that the device still has before it
    waits: list[torch.device] = []

    def synchronise(device: torch.device) -> None:
        waits.append(device)
        clock.passes(queued[0])
        queued[0] = 0.0

    monkeypatch.setattr(torch.accelerator, "synchronize", synchronise)
    one = StepTimes(folder=str(tmp_path), every=10)
    one.on_train_epoch_start(trainer, None)
    for _ in range(32):
        clock.passes(0.002)
        trainer.datamodule.waited += 0.002
        trainer.datamodule.arrived = clock.now
        queued[0] += 0.010  # a copy that doesn't block
        one.on_train_batch_start(trainer, None, None, 0)
        clock.passes(0.001)
        queued[0] += 0.1  # kernels
        one.on_train_batch_end(trainer, None, None, None, 0)
    # three steps, and one wait before a step that didn't come any more
    assert len(waits) == 3 * 3 + 1 and set(waits) == {torch.device("cuda:1")}
    split = one.split()
    assert split is not None and one.count == 3
    assert split.waiting == pytest.approx(2)
    assert split.copying == pytest.approx(10)
    assert split.computing == pytest.approx(101)
    assert split.binds() == "computing"


def test_what_a_resumed_run_does_again_is_written_once(tmp_path: Path) -> None:
    split = Split(1, 0, 0, 1, 0)
    for epoch in (0, 1, 2):
        StepTimes(folder=str(tmp_path), every=2)._keep(epoch, split)
    StepTimes(folder=str(tmp_path), every=2)._keep(1, split)
    rows = list(csv.DictReader((tmp_path / "times.csv").open()))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert [path.name for path in tmp_path.iterdir()] == ["times.csv"]


@pytest.mark.parametrize(
    ("device", "workers", "cores", "split", "words"),
    [
        ("cpu", 0, 8, (900, 0, 100, 0), "data.num_workers=7 (now 0)"),
        ("cuda", 0, 8, (900, 0, 100, 0), "data.num_workers=8 (now 0)"),
        ("cuda", 2, 16, (100, 0, 100, 0), "data.num_workers=4 (now 2)"),
        ("cuda", 8, 8, (100, 0, 100, 0), "data.num_workers=8 is what the cores"),
        ("cpu", 0, 1, (100, 0, 100, 0), "data.num_workers=0 is what the cores"),
        ("cuda", 8, 8, (5, 50, 100, 5), "copying costs more than it need; let batches be locked"),
        ("cpu", 8, 8, (5, 50, 100, 5), "a fold method"),
        (
            "cpu",
            8,
            8,
            (5, 0, 100, 50),
            "logging costs more than it need; raise trainer.log_every_n_steps",
        ),
        ("cpu", 8, 8, (9, 0, 100, 0), "computing binds; a GPU or a smaller model"),
        ("cuda", 8, 8, (9, 0, 100, 0), "computing binds; trainer.precision=bf16-mixed"),
    ],
)
def test_one_line_says_what_to_change(
    device: str,
    workers: int,
    cores: int,
    split: tuple,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(times, "cores", lambda: cores)
    said = sentence(Split(sum(split), *split), fake(device, num_workers=workers))
    assert words in said and "\n" not in said


class SlowSong(FakeSong):
    """Reading it takes a while."""

    def read(self, source: str, start: int, frames: int) -> Any:
        time.sleep(0.004)
        return super().read(source, start, frames)


class Small(lightning.LightningModule):
    def __init__(self, nap: float) -> None:
        super().__init__()
        self.weight, self.nap = torch.nn.Parameter(torch.ones(1)), nap

    def training_step(self, batch: Any, number: int) -> torch.Tensor:
        time.sleep(self.nap)
        return (self.weight * batch.stems).square().mean()

    def validation_step(self, song: Any, number: int) -> None:
        time.sleep(0.2)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def trained(folder: Path, nap: float, *, measured: bool, **settings: Any) -> tuple[Any, Any]:
    slow = [SlowSong(name=f"song {n}", number=n) for n in range(2)]
    stream = Stream(
        corpus=FakeCorpus(slow, songs(1), []), store=None,
        augmentation=Augmentations(gain=Gain(low=0.25, high=1.25)),
        sampling=Sampling(balanced=True, active=0, floor=-60), sources=list(SOURCES),
        sample_rate=1000, channels=2, segment=0.1, context=0, batch_size=2,
        examples_per_epoch=14, num_workers=0, prefetch=2, seed=1, valid_seconds=None,
        test_seconds=None,
    )  # fmt: skip
    one = StepTimes(folder=str(folder), every=2)
    model = Small(nap)
    trainer = lightning.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, num_sanity_val_steps=1,
        callbacks=[one] if measured else [], **settings,
    )  # fmt: skip
    trainer.fit(model, stream)
    return one, model


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("settings", [{}, {"accumulate_grad_batches": 3, "val_check_interval": 4}])
def test_a_real_training_says_what_binds_and_stays_the_same(
    settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, model = trained(tmp_path, 0.0, measured=True, **settings)
    said = [line for line in capsys.readouterr().out.splitlines() if "a step takes" in line]
    assert len(said) == 1 and "waiting for data binds" in said[0]
    rows = list(csv.DictReader((tmp_path / "times.csv").open()))
    assert [row["steps"] for row in rows] == ["6", "7"]  # the first one starts things up
    for row in rows:
        assert float(row["waiting"]) > 32  # 2 examples of 4 stems, 4 ms each
        assert float(row["step"]) < 200  # without the naps of validation
        parts = sum(float(row[n]) for n in ("waiting", "copying", "computing", "logging"))
        assert parts == pytest.approx(float(row["step"]), rel=0.02)
    _, plain = trained(tmp_path / "plain", 0.0, measured=False, **settings)
    assert torch.equal(model.weight, plain.weight)
    # naps last longer on a busy machine, but not half a second
    one, _ = trained(tmp_path / "slow", 0.5, measured=True, max_steps=3)
    assert one.split().binds() == "computing"


def test_another_data_module_is_left_alone(tmp_path: Path) -> None:
    trainer = fake()
    del trainer.datamodule.waited
    one = StepTimes(folder=str(tmp_path), every=2)
    one.on_train_epoch_start(trainer, None)
    for _ in range(3):
        one.on_train_batch_start(trainer, None, None, 0)
        one.on_train_batch_end(trainer, None, None, None, 0)
    one.on_train_epoch_end(trainer, None)
    assert list(tmp_path.iterdir()) == []
