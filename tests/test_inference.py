"""Separating a song: chunks, context, rates and channels change nothing that they shouldn't."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sepexp.dsp.overlap import chunk_starts, fade
from sepexp.errors import UserError
from sepexp.inference import Inference, at_model, separate, settings
from sepexp.separation import Separation

PLAIN = Inference(0.1, 0.25, 3, 1.0, 0, 0.5)


class Halves(nn.Module):
    """Gives half of the mixture to each of two targets, looking `context` samples around."""

    def __init__(self, *, sample_rate: int = 8000, channels: int = 2, context: int = 0) -> None:
        super().__init__()
        self.sample_rate, self.channels, self.context = sample_rate, channels, context
        self.heard: list[int] = []

    def forward(self, mixture: Tensor) -> Separation:
        assert mixture.shape[1] == self.channels
        self.heard.append(mixture.shape[-1])
        inner = mixture[..., self.context : mixture.shape[-1] - self.context]
        return Separation(torch.stack([0.5 * inner, 0.5 * inner], dim=1))


def song(channels: int = 2, samples: int = 8000) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(channels, samples)


@pytest.mark.parametrize("samples", [1, 799, 800, 801, 8000, 8123])
@pytest.mark.parametrize("context", [0, 50])
def test_chunks_fade_into_the_whole(samples: int, context: int) -> None:
    model = Halves(context=context)
    mixture = song(samples=samples)
    stems = separate(model, mixture, sample_rate=8000, inference=PLAIN)
    assert stems.shape == (2, 2, samples)
    assert torch.allclose(stems[0], 0.5 * mixture, atol=1e-6)
    assert max(model.heard) <= 800 + 2 * context


def test_no_segment_means_the_whole_song_at_once() -> None:
    model = Halves()
    separate(model, song(), sample_rate=8000, inference=PLAIN._replace(segment=None))
    assert model.heard == [8000]


@pytest.mark.parametrize(("channels", "model_channels"), [(2, 1), (1, 2), (1, 1)])
def test_channels_are_adapted(channels: int, model_channels: int) -> None:
    model = Halves(channels=model_channels)
    mixture = song(channels)
    stems = separate(model, mixture, sample_rate=8000, inference=PLAIN)
    assert torch.allclose(stems[1], 0.5 * mixture, atol=1e-6)


def test_another_rate_is_adapted_and_keeps_the_length() -> None:
    time = torch.arange(44100) / 44100
    mixture = torch.stack([torch.sin(2 * torch.pi * 440 * time)] * 2)
    stems = separate(Halves(sample_rate=16000), mixture, sample_rate=44100, inference=PLAIN)
    assert stems.shape == (2, 2, 44100)
    inner = slice(2000, -2000)
    assert torch.allclose(stems[0][..., inner], 0.5 * mixture[..., inner], atol=2e-3)


def test_shifts_are_undone() -> None:
    mixture = song()
    stems = separate(Halves(), mixture, sample_rate=8000, inference=PLAIN._replace(shifts=3))
    assert torch.allclose(stems[0], 0.5 * mixture, atol=1e-6)


def test_the_models_mode_comes_back() -> None:
    model = Halves().train()
    separate(model, song(), sample_rate=8000, inference=PLAIN)
    assert model.training


def test_progress_ends_at_the_total() -> None:
    seen: list[tuple[int, int]] = []
    separate(
        Halves(), song(), sample_rate=8000, inference=PLAIN,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert seen[-1][0] == seen[-1][1] > 1


def test_training_sees_what_the_model_works_at() -> None:
    stems = torch.randn(3, 4, 2, 44100)
    assert at_model(stems, Halves(sample_rate=16000, channels=1), 44100).shape == (3, 4, 1, 16000)


def test_settings_refuse_nonsense() -> None:
    good = PLAIN._asdict()
    assert settings(**good) == PLAIN
    for wrong in ({"segment": 0.0}, {"overlap": 1.0}, {"batch_size": 0}, {"shifts": -1}):
        with pytest.raises(UserError):
            settings(**(good | wrong))


@pytest.mark.parametrize(("samples", "chunk"), [(10, 10), (10, 3), (100, 7), (5, 5)])
def test_chunks_cover_the_signal_and_stay_inside(samples: int, chunk: int) -> None:
    covered = torch.zeros(samples)
    for start in chunk_starts(samples, chunk, 0.25):
        assert 0 <= start <= samples - chunk
        covered[start : start + chunk] += 1
    assert (covered > 0).all()


def test_fade_is_positive_and_symmetric() -> None:
    for chunk in (1, 2, 7, 100):
        weights = fade(chunk)
        assert (weights > 0).all() and torch.equal(weights, weights.flip(0))
