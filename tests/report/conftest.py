"""Run folders as the training command leaves them, with scores from a known model of chance."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

SOURCES = ("vocals", "drums", "bass", "other")
MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Write a run folder; returns its path."""

    def make(
        name: str = "run",
        *,
        seed: int = 1,
        overrides: Mapping[str, str] | None = None,
        level: float = 5.0,
        tracks: int = 6,
        frames: int = 5,
        track_names: list[str] | None = None,
        passport: Mapping[str, object] | None = None,
        curves: bool = True,
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        chosen = dict(overrides or {})
        config: dict = {"seed": seed, "model": {"_target_": "sepexp.model.demucs.Demucs"}}
        config |= {"folder": str(folder), "loss": {"_target_": "sepexp.loss.time.L1"}}
        for key, value in chosen.items():
            group, _, leaf = key.partition(".")
            config.setdefault(group, {})
            if leaf:
                config[group][leaf] = value
            else:
                config[group] = {"_target_": value}
        (folder / "config.json").write_text(json.dumps(config))
        facts = {
            "id": f"id-{name}", "status": "finished", "seed": seed, "commit": "abc1234",
            "overrides": [*(f"{k}={v}" for k, v in chosen.items()), f"seed={seed}"],
            "data": {"name": "musdb18", "fingerprint": {"test": "f" * 32}},
            "model": "sepexp.model.demucs.Demucs", "parameters": 1043376, "macs": 2.5e9,
            "train_seconds": 4000.0, "real_time_factor": 0.25, "peak_memory_mb": 1234.0,
            "hardware": {"cores": 2}, "best": {"valid/sdr": 5.25},
            "tested": {"split": "test", "metric": {"backend": "sepexp", "window": 1.0, "hop": 1.0}},
        }  # fmt: skip
        (folder / "run.json").write_text(json.dumps(facts | dict(passport or {})))
        names = track_names or [f"song {index}" for index in range(tracks)]
        write_scores(folder / "scores.csv", names, level=level, frames=frames, seed=seed)
        if curves:
            (folder / "metrics.csv").write_text(
                "epoch,step,train/loss,valid/sdr,valid/sdr/vocals\n"
                "0,10,0.5,,\n0,10,,1.0,0.5\n1,20,0.3,,\n1,20,,3.0,2.0\n2,30,0.2,,\n2,30,,nan,2.5\n"
            )
        return folder

    return make


def write_scores(path: Path, names: list[str], *, level: float, frames: int, seed: int) -> None:
    """Bass is silent in the last song; songs differ alike for all systems."""
    rows = []
    for place, track in enumerate(names):
        song = np.random.default_rng(sum(map(ord, track))).normal()
        own = np.random.default_rng([seed, place])
        for system, height in (("model", level), ("mixture", -3.0), ("near-silence", 0.0),
                               ("IRM1", 8.0)):  # fmt: skip
            for index, source in enumerate(SOURCES):
                silent = source == "bass" and place == len(names) - 1
                for metric in ("SDR", "SIR"):
                    for frame in range(frames):
                        value = (
                            height + song - index + (0.2 * own.normal() if system == "model" else 0)
                        )
                        value = math.nan if silent or frame == 2 else value
                        rows.append(["x", system, track, source, metric, frame, f"{value:.6g}"])
                whole = "nan" if silent else f"{height + song - index:.6g}"
                rows.append(["x", system, track, source, "uSDR", "", whole])
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["run", "system", "track", "source", "metric", "frame", "value"])
        writer.writerows(rows)
