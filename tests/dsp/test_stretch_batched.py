"""The batch on a device against the numpy form, item by item."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sepexp.dsp import stretch, stretch_batched
from sepexp.errors import UserError

RATE = 44100
FRAMES = RATE
TEMPO = [1.0, 0.88, 1.12, 1.0, 1.0, 0.95, 1.06, 2 ** (1 / 12)]
SEMITONES = [0.0, 0.0, 0.0, -2.0, 2.0, 1.0, 0.37, 1.0]


def batch(samples: int, items: int = len(TEMPO)) -> np.ndarray:
    """Bursts over chords, two different channels, no two items alike."""
    generator = np.random.default_rng(0)
    time = np.arange(samples) / RATE
    audio = np.empty((items, 2, samples), np.float32)
    for item in range(items):
        chord = sum(np.sin(2 * np.pi * hertz * time) for hertz in generator.uniform(60, 900, 4))
        since = (time + generator.uniform(0, 0.2)) % generator.uniform(0.15, 0.4)
        hits = generator.standard_normal((2, samples)) * np.exp(-since / 0.02)
        audio[item] = 0.1 * chord + 0.3 * hits
    return audio


def test_items_equal_the_numpy_form() -> None:
    needed = stretch_batched.frames_needed(FRAMES, tempo=TEMPO, semitones=SEMITONES)
    audio = batch(needed + 100)
    output = stretch_batched.change(
        torch.from_numpy(audio), tempo=TEMPO, semitones=SEMITONES, frames=FRAMES
    )
    assert output.shape == (len(TEMPO), 2, FRAMES) and output.dtype == torch.float32
    for item, (tempo, semitones) in enumerate(zip(TEMPO, SEMITONES, strict=True)):
        want = stretch.change(audio[item], tempo=tempo, semitones=semitones, frames=FRAMES)
        # float32 sums in another order; the same splices, or whole overlaps would differ
        np.testing.assert_allclose(output[item].numpy(), want, atol=1e-5, err_msg=f"item {item}")


def test_an_item_alone_equals_the_same_item_in_a_batch() -> None:
    needed = stretch_batched.frames_needed(FRAMES, tempo=TEMPO, semitones=SEMITONES)
    audio = torch.from_numpy(batch(needed))
    together = stretch_batched.change(audio, tempo=TEMPO, semitones=SEMITONES, frames=FRAMES)
    for item in (1, 4):
        alone = stretch_batched.change(
            audio[item : item + 1],
            tempo=TEMPO[item : item + 1],
            semitones=SEMITONES[item : item + 1],
            frames=FRAMES,
        )
        torch.testing.assert_close(alone[0], together[item], atol=1e-5, rtol=0)


@pytest.mark.parametrize("frames", [1, 700, 5000])
def test_short_outputs_and_silence(frames: int) -> None:
    needed = stretch_batched.frames_needed(frames, tempo=TEMPO, semitones=SEMITONES)
    audio = torch.zeros(len(TEMPO), 2, needed)
    output = stretch_batched.change(audio, tempo=TEMPO, semitones=SEMITONES, frames=frames)
    assert output.shape == (len(TEMPO), 2, frames) and not output.any()


def test_short_input_and_missing_numbers_are_refused() -> None:
    audio = torch.zeros(2, 2, 1000)
    with pytest.raises(UserError, match="need"):
        stretch_batched.change(audio, tempo=[1.1, 1.0], semitones=[0, 0], frames=1000)
    with pytest.raises(UserError, match="for each item"):
        stretch_batched.change(audio, tempo=[1.0], semitones=[0], frames=10)


def test_the_precision_that_was_set_is_left_as_it_was() -> None:
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        stretch_batched.change(torch.zeros(1, 2, 9000), tempo=[1.1], semitones=[1], frames=500)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.gpu
def test_the_device_agrees_with_the_processor() -> None:
    needed = stretch_batched.frames_needed(FRAMES, tempo=TEMPO, semitones=SEMITONES)
    audio = torch.from_numpy(batch(needed))
    here = stretch_batched.change(audio, tempo=TEMPO, semitones=SEMITONES, frames=FRAMES)
    there = stretch_batched.change(
        audio.to("cuda"), tempo=TEMPO, semitones=SEMITONES, frames=FRAMES
    )
    torch.testing.assert_close(there.cpu(), here, atol=1e-5, rtol=0)
