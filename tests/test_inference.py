"""Separating a song: chunks, context, rates and channels change nothing that they shouldn't."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sepexp.dsp.overlap import chunk_starts, fade
from sepexp.errors import UserError
from sepexp.inference import Inference, at_model, resample, separate, settings
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


class Lying:
    """A song in a file: slices only, each remembered."""

    def __init__(self, song: Tensor) -> None:
        self.song, self.shape, self.device = song, song.shape, song.device
        self.asked: list[int] = []

    def __getitem__(self, place: tuple) -> Tensor:
        self.asked.append(self.song[place].shape[-1])
        return self.song[place].clone()


class Mixes(nn.Module):
    """Every estimated sample depends on all that the chunk held."""

    def __init__(self, *, channels: int, context: int) -> None:
        super().__init__()
        self.sample_rate, self.channels, self.context = 8000, channels, context

    def forward(self, mixture: Tensor) -> Separation:
        inner = mixture[..., self.context : mixture.shape[-1] - self.context]
        place = torch.linspace(0.5, 1.5, inner.shape[-1])
        spread = mixture.abs().mean(dim=(1, 2), keepdim=True)
        return Separation(torch.stack([place * inner, inner + spread], dim=1))


@pytest.mark.parametrize("samples", [1, 799, 801, 4321])
@pytest.mark.parametrize(("channels", "model_channels"), [(2, 2), (2, 1), (1, 2)])
@pytest.mark.parametrize("context", [0, 950])
@pytest.mark.parametrize("shifts", [0, 2])
def test_a_song_read_by_windows_gives_the_same_bits(
    samples: int, channels: int, model_channels: int, context: int, shifts: int
) -> None:
    model = Mixes(channels=model_channels, context=context)
    cut = PLAIN._replace(shifts=shifts, max_shift=0.05)
    held = song(channels, samples)
    lying = Lying(held)
    asked = {"sample_rate": 8000, "inference": cut}
    assert torch.equal(separate(model, lying, **asked), separate(model, held, **asked))
    assert max(lying.asked) <= 800 + 2 * context  # never the song, however long


def test_a_song_at_another_rate_is_read_once() -> None:
    lying = Lying(song(2, 4410))
    asked = {"sample_rate": 44100, "inference": PLAIN}
    model = Mixes(channels=2, context=0)
    assert torch.equal(separate(model, lying, **asked), separate(model, lying.song, **asked))
    assert lying.asked == [4410]


@pytest.mark.parametrize("context", [0, 50])
@pytest.mark.parametrize("shifts", [0, 2])
def test_chunks_are_those_of_the_padded_song(context: int, shifts: int) -> None:
    model, samples = Mixes(channels=2, context=context), 2345
    held = song(2, samples)
    cut = PLAIN._replace(shifts=shifts, max_shift=0.05)
    room, expected = 400, torch.zeros(2, 2, samples)
    offsets = torch.randint(room, (shifts,), generator=torch.Generator().manual_seed(0)).tolist()
    for offset in offsets or [room]:
        silence = torch.zeros(2, room - offset)
        moved = torch.cat([silence, held, torch.zeros(2, offset if shifts else 0)], dim=-1)
        around = nn.functional.pad(moved, (context, context))
        total, weights = torch.zeros(2, *moved.shape), torch.zeros(moved.shape[-1])
        for start in chunk_starts(moved.shape[-1], 800, cut.overlap):
            estimate = model(around[None, :, start : start + 800 + 2 * context]).waveforms[0]
            total[..., start : start + 800] += estimate * fade(800)
            weights[start : start + 800] += fade(800)
        late = room - offset
        expected += (total / weights)[..., late : late + samples] / max(1, shifts)
    found = separate(model, held, sample_rate=8000, inference=cut)
    assert torch.allclose(found, expected, atol=1e-6)  # sums in another order


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float64])
def test_a_model_of_another_precision_reads_its_own_numbers(kind: torch.dtype) -> None:
    class Scaled(Halves):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(2, 1))

        def forward(self, mixture: Tensor) -> Separation:
            assert mixture.dtype == self.scale.dtype
            return super().forward(mixture * self.scale)

    stems = separate(Scaled().to(kind), song(), sample_rate=8000, inference=PLAIN)
    assert torch.allclose(stems[0], 0.5 * song(), atol=0.02)  # bfloat16 keeps 8 bits


def test_targets_of_a_batch_come_to_another_rate() -> None:
    stems = torch.randn(2, 3, 2, 441)
    chosen = torch.einsum("ts,bscn->btcn", torch.eye(3), stems)
    assert not chosen.is_contiguous()  # as a sum over stems leaves it
    assert torch.equal(resample(chosen, 44100, 22050), resample(stems, 44100, 22050))
