"""Tones of upsampling against hand-worked truths and the figures of arXiv 2010.14356."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sepexp.errors import UserError
from sepexp.metric.tones import (
    average_power,
    layers_of_tones,
    mean_period_power,
    measure,
    measure_pauses,
    pauses,
    peaks,
    tone_ratio,
)
from sepexp.nn.upsampling import make_upsampler
from sepexp.separation import Separation

RATE = 8000


class Upsampler(nn.Module):
    """Frames of every 16th sample, one upsampling layer after another: the least that has tones."""

    def __init__(self, *layers: nn.Module, strides: tuple[int, ...]) -> None:
        super().__init__()
        self.sample_rate, self.channels, self.context = RATE, 1, 0
        self.layers, self.strides = nn.Sequential(*layers), strides
        self.weight = nn.Parameter(torch.ones(()))

    def upsampled_rates(self) -> list[float]:
        products = np.cumprod(self.strides[::-1])
        return [RATE / float(product) for product in products]

    def forward(self, mixture: Tensor) -> Separation:
        frames = mixture[..., :: math.prod(self.strides)]
        return Separation(self.layers(frames)[:, None, :, : mixture.shape[-1]])


def transposed(kernel: int, stride: int, *, weight: float = 1.0, bias: float = 0.0) -> nn.Module:
    layer = nn.ConvTranspose1d(1, 1, kernel, stride)
    nn.init.constant_(layer.weight, weight)
    nn.init.constant_(layer.bias, bias)
    return layer


def test_the_ratio_of_a_period_worked_by_hand() -> None:
    # overlaps 2, 2, 1, 1: mean 1.5, mean square about it 0.25
    response = torch.tensor([2.0, 2.0, 1.0, 1.0]).repeat(30)
    assert tone_ratio(response, 4) == pytest.approx(10 * math.log10(0.25 / 1.5**2))
    assert mean_period_power(response, 4).tolist() == pytest.approx([2.25, 0.25, 0.0])


@pytest.mark.parametrize("period", [4, 5])
def test_powers_of_a_period_sum_to_its_mean_square(period: int) -> None:
    response = torch.randn(3, 2, period * 30, generator=torch.Generator().manual_seed(0))
    cut = response.double()[..., 10 * period : 20 * period]
    mean = cut.unflatten(-1, (10, period)).mean(dim=-2)
    assert mean_period_power(response, period).sum().item() == pytest.approx(
        mean.square().mean().item()
    )


@pytest.mark.parametrize(
    ("kernel", "stride", "ratio"), [(10, 4, -14.0), (6, 4, -9.5), (5, 2, -14.0)]
)
@torch.no_grad()
def test_published_ratios_of_partial_overlap(kernel: int, stride: int, ratio: float) -> None:
    response = transposed(kernel, stride)(torch.ones(1, 1, 90))
    assert tone_ratio(response, stride) == pytest.approx(ratio, abs=0.05)  # given to a decimal


@pytest.mark.parametrize(("kernel", "stride"), [(8, 4), (4, 4), (4, 2), (16, 8), (20, 10)])
@torch.no_grad()
def test_full_overlap_of_constant_weights_has_none(kernel: int, stride: int) -> None:
    assert tone_ratio(transposed(kernel, stride)(torch.ones(1, 1, 90)), stride) == -120


@pytest.mark.parametrize(
    ("weights", "kernel", "stride", "median"),
    [("uniform", 8, 4, -10.0), ("uniform", 4, 2, -13.3), ("uniform", 16, 8, -8.4)]
    + [("normal", 8, 4, 7.5), ("normal", 4, 2, -0.3), ("normal", 16, 8, 11.5)]
    + [("normal", 20, 10, 12.6)],
)
def test_medians_over_random_weights(weights: str, kernel: int, stride: int, median: float) -> None:
    """With ones coming in, a phase's output is the sum of its taps."""
    generator = torch.Generator().manual_seed(0)
    draw = torch.rand if weights == "uniform" else torch.randn
    taps = draw(1000, kernel // stride, stride, generator=generator)
    ratios = [tone_ratio(phases, stride) for phases in taps.sum(dim=1).unbind()]
    # standard error of these medians: 0.3 dB, with stride 2 0.6 dB; the published ones are of 2000
    assert np.median(ratios) == pytest.approx(median, abs=2.0 if stride == 2 else 1.0)


def test_a_tone_belongs_to_the_last_layer_that_makes_it() -> None:
    # 8 kHz, strides 2 and 4 from the end: period 8, multiples of 1 kHz up to 4 kHz
    assert layers_of_tones([4000, 1000], 8000).tolist() == [-1, 1, 1, 1, 0]
    # an odd period is taken twice, to have a bin at half the rate
    assert layers_of_tones([RATE / 5], RATE).tolist() == [-1, -1, 0, -1, 0, -1]


@pytest.mark.parametrize("rates", [[3000.0], [4000.0, 1500.0]])
def test_rates_that_do_not_divide_are_refused(rates: list[float]) -> None:
    with pytest.raises(UserError, match="divide"):
        layers_of_tones(rates, 8000)


def test_peaks_of_flat_and_of_one_tone() -> None:
    power = torch.ones(65, dtype=torch.float64)
    power[32] = 50.0
    assert peaks(power, 16).tolist() == [1.0, 50.0, 1.0]  # at 16, 32, 48; 64 is half the rate


def test_long_windows_measure_a_sine_on_its_bin() -> None:
    sine = torch.sin(2 * math.pi * 16 * torch.arange(1024) / 128)
    power = average_power(sine, 128)
    assert power.argmax() == 16
    assert (power[16] / power[14]).item() > 1e6  # a Hann window spreads a tone over one bin more


@pytest.mark.parametrize(("bias", "level"), [(0.0, -120.0), (0.5, -12.04)])
def test_silence_lets_only_the_bias_through(bias: float, level: float) -> None:
    """The first layer's constant bias meets overlaps 2, 2, 1, 1 of weight 1: tones of bias^2/4."""
    model = Upsampler(transposed(4, 4, bias=bias), transposed(6, 4), strides=(4, 4))
    found = measure(model)
    assert found.all_silence == pytest.approx(level, abs=0.01)
    assert found.silence[0] == pytest.approx(level, abs=0.01)  # all of it by the last layer
    assert found.silence[1] < -100


def test_each_layer_is_charged_with_its_own_tones() -> None:
    clean, partial = transposed(8, 4), transposed(6, 4)
    last = measure(Upsampler(clean, partial, strides=(4, 4)))
    first = measure(Upsampler(partial, clean, strides=(4, 4)))
    assert last.rates == [2000.0, 500.0]
    assert last.ones[0] == pytest.approx(-9.54, abs=0.01) and last.ones[1] < -100
    # the tones of the first layer at 500 and 1000 Hz go through the last one, which damps them
    assert -30 < first.ones[1] < -9.54 and first.ones[0] < first.ones[1]


def test_noise_alone_has_no_tones_and_a_bias_adds_them() -> None:
    flat = measure(Upsampler(transposed(4, 4), transposed(4, 4), strides=(4, 4)), seed=1)
    assert all(abs(level) < 1 for level in flat.noise if level > -10), flat.noise
    loud = measure(Upsampler(transposed(4, 4, bias=1.0), transposed(6, 4), strides=(4, 4)), seed=1)
    assert loud.noise[0] > 20


def test_pauses_are_where_the_target_is_silent_and_the_others_are_not() -> None:
    target = torch.ones(2, 100)
    target[:, 10:30] = 5e-5  # dither
    target[1, 40:60] = 0  # one channel alone is no pause
    target[:, 70:75] = 0  # too short
    target[:, 80:] = 0
    mixture = torch.randn(2, 100, generator=torch.Generator().manual_seed(0))
    assert list(pauses(target, mixture, 20)) == [(10, 30), (80, 100)]
    mixture[:, 80:] = 0
    assert list(pauses(target, mixture, 20)) == [(10, 30)]


def test_pauses_let_a_decoders_own_tones_be_heard() -> None:
    generator = torch.Generator().manual_seed(0)
    mixture = 0.1 * torch.randn(1, 40_000, generator=generator)
    truth = mixture[None].clone()
    truth[..., 5_000:35_000] = 0
    clean = Upsampler(transposed(4, 4), transposed(4, 4), strides=(4, 4))
    partial = Upsampler(transposed(4, 4, bias=1.0), transposed(6, 4), strides=(4, 4))
    assert measure_pauses(partial, [(mixture, truth, [0])])[0] > 20
    assert max(measure_pauses(clean, [(mixture, truth, [0])])) < 1
    never = measure_pauses(clean, [(mixture, mixture[None], [0])])
    assert all(math.isnan(level) for level in never)


@pytest.mark.parametrize("kind", ["nearest", "linear", "learned"])
def test_interpolators_make_no_tones_of_any_weights(kind: str) -> None:
    torch.manual_seed(0)
    layer = make_upsampler(kind, inputs=1, outputs=1, kernel=8, stride=4)
    found = measure(Upsampler(layer, strides=(4,)))
    assert found.all_ones < -90 and found.all_silence < -90


def test_the_model_keeps_its_mode() -> None:
    model = Upsampler(transposed(4, 4), strides=(4,)).train()
    measure(model)
    assert model.training


def test_a_model_without_such_a_decoder_is_refused() -> None:
    with pytest.raises(UserError, match="Linear has no decoder"):
        measure(nn.Linear(1, 1))
