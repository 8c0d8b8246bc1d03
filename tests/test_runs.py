"""The real command on tiny songs: train, test, resume, evaluate, separate, sweep, several ranks."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import soundfile
from tiny_runs import CONV_TASNET, OPEN_UNMIX, SONGS, command, environment, same, sepexp, weights


@pytest.fixture(scope="module")
def trained(song_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "first"
    sepexp(
        song_cache, *SONGS, *CONV_TASNET, "metric.songs_to_hear=1",
        "trainer.callbacks.audio.songs=1", f"hydra.run.dir={folder}",
    )  # fmt: skip
    return folder


def test_a_run_folder_explains_itself(trained: Path) -> None:
    passport = json.loads((trained / "run.json").read_text())
    assert passport["status"] == "finished" and passport["parameters"] > 0
    assert {"torch", "lightning", "sepexp"} <= set(passport["versions"])
    assert set(passport["data"]["fingerprint"]) == {"train", "valid", "test"}
    assert {"command", "seed", "hardware", "commit", "macs", "train_seconds"} <= set(passport)
    assert json.loads((trained / "config.json").read_text())["seed"] == 1
    for name in ("checkpoints/best.ckpt", "checkpoints/last.ckpt", "metrics.csv", "report.md"):
        assert (trained / name).stat().st_size > 0
    assert list(trained.glob("figures/*.png")) and list(trained.glob("audio/valid/*/*.png"))
    wavs = {path.stem for path in trained.glob("audio/test/*/*.wav")}
    assert {"mixture", "vocals truth", "vocals estimate"} <= wavs


def test_scores_are_long_and_name_the_rows(trained: Path) -> None:
    with (trained / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["run", "system", "track", "source", "metric", "frame", "value"]
    assert {row["system"] for row in rows} == {
        "model", "mixture", "mixture/N", "near-silence", "IRM1",
    }  # fmt: skip
    assert {row["metric"] for row in rows} == {"SDR", "ISR", "SIR", "SAR", "uSDR"}
    assert {row["source"] for row in rows} == {"vocals", "drums", "bass", "other"}


def test_evaluate_gives_the_same_scores_again(trained: Path, song_cache: Path) -> None:
    before = (trained / "scores.csv").read_text()
    sepexp(song_cache, "evaluate", str(trained))
    assert (trained / "scores.csv").read_text() == before


def test_evaluate_adds_scores_and_rows(trained: Path, song_cache: Path, tmp_path: Path) -> None:
    run = tmp_path / "copy"
    shutil.copytree(trained, run)
    sepexp(song_cache, "evaluate", str(run), "--scores", "SI-SDR", "leak", "--rows", "oracles")
    with (run / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {"IBM", "IRM1", "IRM2", "MWF", "cIRM", "model"} <= {row["system"] for row in rows}
    assert {"SI-SDR", "leak of drums", "SDR"} <= {row["metric"] for row in rows}
    tested = json.loads((run / "run.json").read_text())["tested"]
    prints = json.loads((run / "run.json").read_text())["data"]["fingerprint"]
    assert tested["fingerprint"] == prints["test"]
    assert "Leaks: how much" in (run / "report.md").read_text()
    said = sepexp(song_cache, "evaluate", str(run), "--scores", "SISDR", code=2)
    assert "no score is called SISDR" in said and "Traceback" not in said


def test_separate_keeps_rate_and_length(trained: Path, song_cache: Path, tmp_path: Path) -> None:
    song = next(song_cache.glob("**/test/*/mixture.wav"))
    sepexp(song_cache, "separate", str(trained), str(song), "--out", str(tmp_path))
    for target in ("vocals", "drums", "bass", "other"):
        info = soundfile.info(tmp_path / "mixture" / f"{target}.wav")
        assert (info.frames, info.samplerate) == (soundfile.info(song).frames, 44100)


def test_a_run_is_never_written_over(trained: Path, song_cache: Path) -> None:
    said = sepexp(song_cache, *SONGS, *CONV_TASNET, f"hydra.run.dir={trained}", code=2)
    assert "already holds" in said and "Traceback" not in said


def test_a_checkpoint_of_another_model_is_refused(
    trained: Path, song_cache: Path, tmp_path: Path
) -> None:
    said = sepexp(
        song_cache, *SONGS, *CONV_TASNET, "model.hidden=16", f"resume={trained}",
        f"hydra.run.dir={tmp_path}/x", code=2,
    )  # fmt: skip
    assert "hidden=8" in said and "hidden=16" in said and "Traceback" not in said


@pytest.mark.parametrize(
    "settings",
    [
        [*CONV_TASNET],
        [
            *OPEN_UNMIX, "loss=spectra_mse", "model.layers=2", "model.dropout=0.4",
            "trainer.accumulate_grad_batches=3", "trainer.callbacks.ema.decay=0.9",
            "scheduler=exponential",
        ],
    ],
    ids=["plain", "dropout, accumulation, EMA, schedule"],
)  # fmt: skip
def test_killed_and_resumed_is_as_if_nothing_had_happened(
    settings: list[str], song_cache: Path, tmp_path: Path
) -> None:
    common = [
        *SONGS, *settings, "data.examples_per_epoch=14", "trainer.callbacks.end=null",
        "trainer.callbacks.last.every_n_train_steps=1", f"runs={tmp_path}",
    ]  # fmt: skip
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    sepexp(song_cache, *common, f"hydra.run.dir={whole}")
    process = subprocess.Popen(
        command(*common, f"hydra.run.dir={broken}"), env=environment(song_cache),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    last = broken / "checkpoints" / "last.ckpt"
    deadline = time.monotonic() + 200
    while not last.is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert last.is_file()
    at = int(weights(broken)["step"])
    assert 0 < at < int(weights(whole)["step"]), "the kill came too late to prove anything"
    said = sepexp(song_cache, *common, f"hydra.run.dir={broken}", "resume=auto")
    assert "goes on from" in said
    assert same(weights(whole), weights(broken))


def test_two_processes_share_one_folder(song_cache: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        command(
            *SONGS, *CONV_TASNET, "trainer.devices=2", "trainer.accelerator=cpu",
            f"runs={tmp_path}", f"hydra.run.dir={tmp_path}/two",
        ),
        env=environment(song_cache), capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(tmp_path.glob("**/run.json"))) == 1
    assert json.loads((tmp_path / "two" / "run.json").read_text())["status"] == "finished"


def test_a_sweep_makes_its_runs_and_one_table(song_cache: Path, tmp_path: Path) -> None:
    said = sepexp(
        song_cache, "-m", *SONGS, "trainer.max_epochs=1", f"hydra.sweep.dir={tmp_path}",
        "model=demucs_small,conv_tasnet_small", "loss=l1,mse",
    )  # fmt: skip
    assert len(list(tmp_path.glob("*/scores.csv"))) == 4, said
    table = (tmp_path / "table.md").read_text().replace("\\_", "_")
    assert "demucs_small" in table and "conv_tasnet_small" in table and "mse" in table


OWN_MODEL = """
import torch
from sepexp.separation import Separation

class Shares(torch.nn.Module):
    def __init__(self, *, sample_rate, channels, targets):
        super().__init__()
        self.sample_rate, self.channels, self.context = sample_rate, channels, 0
        self.shares = torch.nn.Parameter(torch.zeros(targets))

    def forward(self, mixture):
        shares = self.shares.softmax(0)[None, :, None, None]
        return Separation(shares * mixture[:, None])
"""


def test_a_model_of_ones_own_package(
    song_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(OWN_MODEL)
    monkeypatch.syspath_prepend(tmp_path)
    config = tmp_path / "conf" / "model"
    config.mkdir(parents=True)
    (config / "shares.yaml").write_text(
        "_target_: mine.Shares\nsample_rate: ${sample_rate}\nchannels: ${channels}\n"
        "targets: ${len:${targets}}\n"
    )
    sepexp(
        song_cache, *SONGS, "model=shares", f"hydra.searchpath=[{config.parent}]",
        f"hydra.run.dir={tmp_path}/run",
    )  # fmt: skip
    assert (tmp_path / "run" / "scores.csv").is_file()
    said = sepexp(song_cache, "evaluate", f"{tmp_path}/run", code=2)
    assert "--trust" in said
    sepexp(song_cache, "evaluate", f"{tmp_path}/run", "--trust", "mine")
