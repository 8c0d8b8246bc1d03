"""Our callbacks and loggers, each by itself."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging

from sepexp.errors import UserError
from sepexp.trainer.alarm import FiniteLoss
from sepexp.trainer.audio import loudest
from sepexp.trainer.ema import ema
from sepexp.trainer.logging import MetricsFile, wandb_logger
from sepexp.trainer.progress import ProgressBar
from sepexp.trainer.resume import Passport, RandomState
from sepexp.trainer.stopping import early_stopping


def test_metrics_survive_a_resume_without_double_rows(tmp_path: Path) -> None:
    first = MetricsFile(folder=str(tmp_path))
    for step in range(5):
        first.log_metrics({"train/loss": step, "epoch": 0}, step)
    first.save()
    second = MetricsFile(folder=str(tmp_path))  # goes on from a checkpoint at step 3
    second.log_metrics({"train/loss": 30.0}, 3)
    second.log_metrics({"valid/sdr": 1.5}, 3)
    second.save()
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert lines[0] == "epoch,step,train/loss,valid/sdr"
    assert lines[1:] == ["0,0,0,", "0,1,1,", "0,2,2,", ",3,30,1.5"]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def test_what_is_off_is_not_there() -> None:
    assert ema(decay=None, update_every_n_steps=1) is None
    assert isinstance(ema(decay=0.9, update_every_n_steps=1), EMAWeightAveraging)
    assert early_stopping(monitor="x", mode="max", patience=None) is None
    assert isinstance(early_stopping(monitor="x", mode="max", patience=3), EarlyStopping)
    assert wandb_logger(enabled=False, project="x", save_dir="x") is None


def test_wandb_needs_no_key_and_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    logger = wandb_logger(enabled=True, project="test", save_dir=str(tmp_path))
    assert logger is not None
    logger.log_metrics({"train/loss": 1.0}, 0)
    logger.experiment.finish()
    assert list(tmp_path.glob("wandb/offline-run-*"))


def test_wandb_that_fails_becomes_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**settings: object) -> None:
        raise OSError("no service")

    monkeypatch.setattr("lightning.pytorch.loggers.WandbLogger", broken)
    with pytest.warns(UserWarning, match="no service"):
        assert wandb_logger(enabled=True, project="x", save_dir="x") is None


def test_a_loss_that_is_no_number_names_its_songs() -> None:
    trainer = SimpleNamespace(
        global_step=7,
        current_epoch=2,
        datamodule=SimpleNamespace(track_names=lambda songs: [f"song {i}" for i in songs.tolist()]),
    )
    alarm = FiniteLoss()
    batch = SimpleNamespace(songs=torch.tensor([[3, 1], [3, 3]]))
    alarm.on_train_batch_start(trainer, None, batch, 0)
    alarm.on_before_backward(trainer, None, torch.tensor(1.0))
    with pytest.raises(UserError, match="step 7 .*song 1, song 3"):
        alarm.on_before_backward(trainer, None, torch.tensor(float("nan")))


def test_random_state_comes_back() -> None:
    trainer = SimpleNamespace(world_size=1, global_rank=0)
    module = SimpleNamespace(device=torch.device("cpu"))
    checkpoint: dict = {}
    torch.manual_seed(5)
    RandomState().on_save_checkpoint(trainer, module, checkpoint)
    expected = torch.rand(3)
    torch.manual_seed(6)
    state = RandomState()
    state.on_load_checkpoint(trainer, module, checkpoint)
    torch.rand(10)  # the sanity check draws
    state.on_train_start(trainer, module)
    assert torch.equal(torch.rand(3), expected)


def test_a_checkpoint_says_what_it_holds(tmp_path: Path) -> None:
    checkpoint: dict = {}
    Passport(config={"model": {"_target_": "x"}}, targets=["vocals"]).on_save_checkpoint(
        None, None, checkpoint
    )
    torch.save(checkpoint, tmp_path / "x.ckpt")
    assert torch.load(tmp_path / "x.ckpt", weights_only=True)["sepexp"]["targets"] == ["vocals"]


def test_the_excerpt_is_where_all_that_sounds_is_loudest() -> None:
    truth = torch.zeros(3, 2, 1000)  # the third target is silent throughout
    truth[0, :, 300:700] = 1.0
    truth[1, :, 600:1000] = 0.1
    cut = loudest(truth, 100)
    assert cut.start >= 575 and cut.stop <= 725
    assert loudest(truth[:, :, :50], 100) == slice(0, 50)
    assert loudest(torch.zeros(1, 1, 500), 100) == slice(0, 100)


def test_time_left_counts_the_steps_of_this_start_only(monkeypatch: pytest.MonkeyPatch) -> None:
    bar = ProgressBar()
    bar.started, bar.first_step = 100.0, 50
    monkeypatch.setattr("time.monotonic", lambda: 110.0)
    trainer = SimpleNamespace(
        global_step=60, estimated_stepping_batches=90, state=SimpleNamespace(fn="fit")
    )
    assert bar._seconds_left(trainer) == pytest.approx(30.0)
    trainer.estimated_stepping_batches = float("inf")
    assert bar._seconds_left(trainer) is None
