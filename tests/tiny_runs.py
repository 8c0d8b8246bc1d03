"""Tiny experiments for the tests that run the real command."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from pathlib import Path
from unittest import mock

import torch

from sepexp.__main__ import main

SONGS = [
    "data=demo", "data.corpus.train=2", "data.corpus.valid=1", "data.corpus.test=1",
    "data.corpus.seconds=4", "data.corpus.test_seconds=2",
    "data.segment=0.5", "data.batch_size=2", "data.examples_per_epoch=8",
    "trainer.max_epochs=2", "trainer.enable_progress_bar=false", "trainer.log_every_n_steps=1",
    "trainer.callbacks.audio.songs=0", "trainer.logger.tensorboard=null", "metric.songs_to_hear=0",
]  # fmt: skip
CONV_TASNET = [
    "model=conv_tasnet_small", "model.bases=8", "model.bottleneck=8", "model.hidden=8",
    "model.blocks=2", "model.repeats=1",
]  # fmt: skip
OPEN_UNMIX = ["model=open_unmix_small", "model.n_fft=512", "model.hop=256", "model.hidden=8"]


def environment(cache: Path) -> dict[str, str]:
    """Without ffmpeg on the PATH, with songs kept between the tests, on one thread."""
    return os.environ | {"PATH": "", "SEPEXP_CACHE": str(cache), "OMP_NUM_THREADS": "1"}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "sepexp", *arguments]


def sepexp(cache: Path, *arguments: str, code: int = 0) -> str:
    """Run the command in this process to its end and return all that it printed.

    The process has torch and Lightning imported already, which saves seconds a call.
    """
    said = io.StringIO()
    found = 0
    torch.set_num_threads(1)
    with (
        mock.patch.object(sys, "argv", ["sepexp", *arguments]),
        mock.patch.dict(os.environ, {"PATH": "", "SEPEXP_CACHE": str(cache)}),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
        warnings.catch_warnings(),
    ):
        try:
            main()
        except SystemExit as end:
            found = int(end.code or 0)
    assert found == code, f"exit code {found}\n{said.getvalue()}"
    return said.getvalue()


def weights(run: Path, name: str = "last") -> dict[str, torch.Tensor]:
    content = torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)
    return {"step": torch.tensor(content["global_step"])} | content["state_dict"]


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(value, second[key]) for key, value in first.items()
    )
