"""Upsamplers: equal lengths, equal places, and the tones that Pons et al. describe."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from sepexp.model.demucs import interpolate
from sepexp.nn.upsampling import KINDS, LearnedInterpolation, make_upsampler


def period(output: Tensor, stride: int) -> Tensor:
    """The mean period of the middle of a signal (samples,) -> (stride,)."""
    middle = output[5 * stride : -5 * stride]
    return middle[: len(middle) // stride * stride].view(-1, stride).mean(dim=0)


def tone_ratio(layer: nn.Module, stride: int) -> float:
    """Energy at multiples of the lower rate over the energy at 0 Hz, for ones, in dB."""
    with torch.no_grad():
        spectrum = torch.fft.fft(period(layer(torch.ones(1, 1, 40))[0, 0].double(), stride)).abs()
    alternating = (spectrum[1:] ** 2).sum() / spectrum[0] ** 2
    return 10 * math.log10(max(alternating.item(), 1e-30))


def constant_transposed(kernel: int, stride: int) -> nn.Module:
    layer = nn.ConvTranspose1d(1, 1, kernel, stride, bias=False)
    nn.init.ones_(layer.weight)
    return layer


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("kernel", "stride"), [(8, 4), (4, 2), (4, 4)])
def test_all_kinds_have_the_transposed_ones_length(kind: str, kernel: int, stride: int) -> None:
    layer = make_upsampler(kind, inputs=3, outputs=2, kernel=kernel, stride=stride)
    for frames in (1, 2, 7):
        expected = (frames - 1) * stride + kernel
        assert layer(torch.randn(2, 3, frames)).shape == (2, 2, expected)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_all_kinds_put_a_frame_in_the_same_place(kind: str) -> None:
    """With equal weights an impulse at frame t becomes a bump around t * stride + 7 / 2."""
    layer = make_upsampler(kind, inputs=1, outputs=1, kernel=8, stride=4)
    for name, parameter in layer.named_parameters():
        if "learned" not in name:
            nn.init.constant_(parameter, 0.0 if "bias" in name else 1.0)
    if kind == "wavelet":  # equal weights make the high bands loud: keep the lowest band alone
        layer.conv.weight[:-1] = 0
    impulse = torch.zeros(1, 1, 21)
    impulse[..., 10] = 1
    bump = layer(impulse)[0, 0]
    centre = (bump * torch.arange(len(bump))).sum() / bump.sum()
    assert centre.item() == pytest.approx(4 * 10 + 3.5, abs=1e-3)


@pytest.mark.parametrize(
    ("kernel", "stride", "ratio"), [(10, 4, -14.0), (6, 4, -9.5), (5, 2, -14.0)]
)
def test_partial_overlap_makes_tones_from_constant_weights(
    kernel: int, stride: int, ratio: float
) -> None:
    assert tone_ratio(constant_transposed(kernel, stride), stride) == pytest.approx(ratio, abs=0.05)


@pytest.mark.parametrize(("kernel", "stride"), [(8, 4), (4, 4), (4, 2), (16, 8), (20, 10)])
def test_full_overlap_makes_none(kernel: int, stride: int) -> None:
    assert tone_ratio(constant_transposed(kernel, stride), stride) < -100


@pytest.mark.parametrize("kind", ["nearest", "linear", "learned"])
def test_interpolators_make_none_with_any_weights(kind: str) -> None:
    torch.manual_seed(0)
    assert tone_ratio(make_upsampler(kind, inputs=1, outputs=1, kernel=8, stride=4), 4) < -90


@pytest.mark.parametrize("kind", ["transposed", "subpixel", "wavelet"])
def test_the_others_make_tones_from_random_weights(kind: str) -> None:
    torch.manual_seed(0)
    assert tone_ratio(make_upsampler(kind, inputs=1, outputs=1, kernel=8, stride=4), 4) > -40


def droop(answer: Tensor, stride: int, place: float) -> float:
    """Level in dB at a place below the old Nyquist frequency, from an impulse's answer."""
    turns = torch.arange(len(answer)) * place / (2 * stride)
    response = torch.polar(answer, 2 * math.pi * turns).sum().abs() / stride
    return 20 * math.log10(response.item())


@pytest.mark.parametrize(("stride", "half", "whole"), [(2, -0.7, -3.0), (4, -0.9, -3.7)])
@torch.no_grad()
def test_nearest_droops_as_published(stride: int, half: float, whole: float) -> None:
    layer = make_upsampler("nearest", inputs=1, outputs=1, kernel=2 * stride, stride=stride)
    nn.init.dirac_(layer.conv.weight)
    nn.init.zeros_(layer.conv.bias)
    answer = layer(torch.eye(1, 41)[None].roll(20, dims=-1))[0, 0]
    assert droop(answer, stride, 0.5) == pytest.approx(half, abs=0.06)  # given to one decimal
    assert droop(answer, stride, 1.0) == pytest.approx(whole, abs=0.06)


@pytest.mark.parametrize(("stride", "half", "whole"), [(2, -1.4, -6.0), (4, -1.7, -7.4)])
@torch.no_grad()
def test_linear_droops_as_published_and_between_the_samples_a_little_more(
    stride: int, half: float, whole: float
) -> None:
    """The published figures are of a triangle that meets the old samples, as version 1's did.

    The layer's lies half a sample off, in the middle of a transposed convolution's output.
    """
    impulse = torch.eye(1, 41)[None].roll(20, dims=-1)
    aligned = interpolate(impulse, stride)[0, 0]
    assert droop(aligned, stride, 0.5) == pytest.approx(half, abs=0.06)
    assert droop(aligned, stride, 1.0) == pytest.approx(whole, abs=0.06)
    layer = make_upsampler("linear", inputs=1, outputs=1, kernel=2 * stride, stride=stride)
    nn.init.dirac_(layer.conv.weight)
    nn.init.zeros_(layer.conv.bias)
    assert whole - 4 < droop(layer(impulse)[0, 0], stride, 1.0) < whole - 0.5


@torch.no_grad()
def test_learned_interpolation_starts_as_linear() -> None:
    frames = torch.randn(2, 3, 9)
    expected = nn.functional.interpolate(frames, scale_factor=4.0, mode="linear")
    assert torch.allclose(LearnedInterpolation(3, 4)(frames), expected, atol=1e-6)


@torch.no_grad()
def test_subpixel_can_do_what_a_transposed_convolution_does() -> None:
    transposed = make_upsampler("transposed", inputs=3, outputs=2, kernel=8, stride=4)
    subpixel = make_upsampler("subpixel", inputs=3, outputs=2, kernel=8, stride=4)
    # (inputs, outputs, taps * stride) -> ((outputs stride), inputs, taps), taps turned round
    taps = transposed.weight.unflatten(2, (2, 4)).flip(2)
    subpixel.conv.weight.copy_(taps.permute(1, 3, 0, 2).flatten(0, 1))
    subpixel.conv.bias.copy_(transposed.bias.repeat_interleave(4))
    frames = torch.randn(1, 3, 11)
    assert torch.allclose(subpixel(frames), transposed(frames), atol=1e-5)
