"""Small networks learn one excerpt by heart: what they cannot say shows here, not in a survey."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sepexp import build
from sepexp.cli.compose import compose, plain
from sepexp.data.demo import render_song
from sepexp.separation import Separation

RATE = 44_100
STEMS = ("vocals", "drums", "bass", "other")


@pytest.fixture(scope="module")
def stems() -> Tensor:
    """Six seconds of a generated song: (1, targets, channels, samples); every stem sounds."""
    song = render_song(3, 16.0)
    whole = torch.stack([torch.from_numpy(song[name]) for name in STEMS]).float() / 2**15
    part = whole[None, ..., 4 * RATE : 10 * RATE].contiguous()
    assert part.square().mean((0, 2, 3)).sqrt().min() > 1e-2
    return part


def sdr(estimate: Tensor, truth: Tensor) -> Tensor:
    """dB of each target over the whole excerpt."""
    error = (estimate - truth).square().sum((0, 2, 3))
    return 10 * (truth.square().sum((0, 2, 3)) / error).log10()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "loss", "steps"),
    [("complex_mapping_small", "l1", 300), ("crn_small", "l1", 300)],
)
def test_learns_six_seconds_by_heart(config: str, loss: str, steps: int, stems: Tensor) -> None:
    settings = plain(compose([f"model={config}", f"loss={loss}"]))
    torch.manual_seed(0)
    model, distance = build.model(settings), build.instantiate(settings["loss"])
    mixture = stems.sum(1)
    if hasattr(model, "prepare"):
        model.prepare([(mixture[0], stems[0])])
    truth = Separation(stems, model.analyse(stems))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        distance(model(mixture), truth, mixture).mean().backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        reached = sdr(model.eval()(mixture).waveforms, stems)
    assert reached.mean() > 15, reached
