"""Tones that a decoder's upsampling makes by itself: from ones, from noise and from silence.

Pons, Pascual, Cengarle and Serrà, "Upsampling Artifacts in Neural Audio Synthesis",
arXiv 2010.14356. A layer that raises a rate of r Hz can make tones at r and its multiples: its
phases receive different numbers of taps (partial overlap), or taps of different sums.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from sepexp.errors import UserError

FLOOR = 1e-12  # -120 dB: what is less is float32's rounding
PERIODS = 64  # of the lowest rate that a measurement hears; its middle third is measured
BINS = 16  # of the noise's spectrum between neighbouring tones
PAUSE = 1e-4  # of full scale: -80 dB, what dither stays below
LONGEST = 10.0  # seconds of a pause that are listened to at once
NEIGHBOURS = (3, 4, 5, 6, 7)  # bins beside a tone; a Hann window spreads it over two


class Tones(NamedTuple):
    """Levels in dB of every layer's tones, the last layer's first.

    rates: Hz, of what each layer upsamples; its tones are multiples that no later layer has.
    ones: power of the tones in the answer to a constant input, relative to that at 0 Hz.
    noise: mean over tones and outputs of their level above their neighbourhood, in the answer to
        white noise; NaN where a tone lies at half the sample rate.
    silence: power of the tones in the answer to zeros, relative to a mean square of 1.
    all_ones, all_silence: of the tones of all layers together.
    pauses: as noise, in the estimates of songs where a target pauses and others sound; empty where
        nobody measured it.
    """

    rates: list[float]
    ones: list[float]
    noise: list[float]
    silence: list[float]
    all_ones: float
    all_silence: float
    pauses: Sequence[float] = ()


@torch.no_grad()
def measure(model: Any, *, seed: int = 0) -> Tones:
    """What a model makes of ones, of white noise at -20 dB and of zeros.

    Args:
        model: Keeps the model contract and says its `upsampled_rates`: Hz, the last layer's first.
        seed: Of the noise.

    Raises:
        UserError: The model has no upsampling decoder, or its rates don't divide each other.
    """
    rates, owners = _layers(model)
    period = 2 * (len(owners) - 1)
    samples = max(PERIODS * period, 2 * model.sample_rate // period * period)
    shape = (1, model.channels, samples + 2 * model.context)
    parameter = next(model.parameters())
    generator = torch.Generator().manual_seed(seed)
    noise = (0.1 * torch.randn(shape, generator=generator)).to(parameter.device)
    training = model.training
    model.eval()
    try:
        ones, hiss, silence = (
            model(signal).waveforms[0].float().cpu()
            for signal in (torch.ones_like(noise), noise, torch.zeros_like(noise))
        )
    finally:
        model.train(training)
    steady, quiet = mean_period_power(ones, period), mean_period_power(silence, period)
    # output by output: a target that is the mixture minus the others holds the noise itself
    spectra = average_power(hiss.flatten(0, 1), BINS * period)
    above = torch.stack([peaks(spectrum, BINS) for spectrum in spectra]).mean(dim=0)
    layers = range(len(rates))
    return Tones(
        rates=rates,
        ones=[decibels(steady[owners == layer].sum() / steady[0]) for layer in layers],
        noise=[decibels(above[owners[1:-1] == layer].mean()) for layer in layers],
        silence=[decibels(quiet[owners == layer].sum()) for layer in layers],
        all_ones=tone_ratio(ones, period),
        all_silence=decibels(quiet[1:].sum()),
    )


@torch.no_grad()
def measure_pauses(
    model: Any, songs: Iterable[tuple[Tensor, Tensor, Sequence[int]]]
) -> list[float]:
    """Level in dB of every layer's tones above their neighbourhood where a target pauses.

    There nothing hides what a decoder makes by itself. NaN where no pause is long enough (16
    periods of the lowest rate that is upsampled).

    Args:
        model: As in `measure`.
        songs: Mixture, true targets and their positions among the model's, at its rate.

    Shape:
        mixture (channels, samples), truth (targets, channels, samples).
    """
    rates, owners = _layers(model)
    n_fft = BINS * 2 * (len(owners) - 1)
    total = torch.zeros(n_fft // 2 + 1, dtype=torch.float64)
    training, device = model.training, next(model.parameters()).device
    model.eval()
    try:
        for mixture, truth, positions in songs:
            padded = F.pad(mixture, (model.context, model.context)).to(device)
            for position, target in zip(positions, truth, strict=True):
                for start, stop in pauses(target, mixture, n_fft):
                    stop = min(stop, start + max(n_fft, int(LONGEST * model.sample_rate)))
                    heard = padded[None, :, start : stop + 2 * model.context]
                    estimate = model(heard).waveforms[0, position].float().cpu()
                    total += (stop - start) * average_power(estimate, n_fft).mean(dim=0)
    finally:
        model.train(training)
    if not total.any():
        return [math.nan] * len(rates)
    above = peaks(total, BINS)
    return [decibels(above[owners[1:-1] == layer].mean()) for layer in range(len(rates))]


def pauses(target: Tensor, mixture: Tensor, least: int) -> Iterator[tuple[int, int]]:
    """Start and end of the stretches in which a target is silent and the mixture isn't.

    Shape:
        target, mixture (channels, samples); stretches of at least `least` samples.
    """
    silent = F.pad((target.abs().amax(dim=0) < PAUSE).int(), (1, 1))
    turns = silent.diff()
    starts, ends = (turns == 1).nonzero()[:, 0].tolist(), (turns == -1).nonzero()[:, 0].tolist()
    for start, end in zip(starts, ends, strict=True):
        if end - start >= least and mixture[:, start:end].std() > PAUSE:
            yield start, end


def _layers(model: Any) -> tuple[list[float], Tensor]:
    """A model's upsampled rates, and which layer owns a tone at each multiple of the lowest."""
    if not hasattr(model, "upsampled_rates"):
        raise UserError(
            f"{type(model).__name__} has no decoder that raises a rate: tones can be measured of "
            "the Demucs, Wave-U-Net and TasNet families"
        )
    rates = [float(rate) for rate in model.upsampled_rates()]
    return rates, layers_of_tones(rates, model.sample_rate)


def layers_of_tones(rates: Sequence[float], sample_rate: float) -> Tensor:
    """Which layer a tone at each multiple of the lowest rate belongs to: the last that makes it.

    Args:
        rates: Hz, the last layer's first, each a multiple of the lowest.

    Shape:
        returns: (bins,) of an even period's one-sided spectrum, -1 at 0 Hz.

    Raises:
        UserError: The rates don't divide each other and the sample rate.
    """
    lowest = rates[-1]
    period = round(sample_rate / lowest)
    steps = [round(rate / lowest) for rate in rates]
    exact = [sample_rate / lowest, *(rate / lowest for rate in rates)]
    if any(abs(value - round(value)) > 1e-6 for value in exact):
        raise UserError(f"rates {list(rates)} Hz don't divide {sample_rate} Hz into whole periods")
    if period % 2:
        period, steps = 2 * period, [2 * step for step in steps]
    owners = torch.full((period // 2 + 1,), -1)
    for layer in reversed(range(len(rates))):
        owners[:: steps[layer]] = layer
    owners[0] = -1
    return owners


def tone_ratio(response: Tensor, period: int) -> float:
    """Energy of the tones over the energy at 0 Hz in the answer to a constant input, in dB.

    Args:
        response: What a layer or model made; its middle third is measured.
        period: Samples between frames of the lowest rate that is upsampled.

    Shape:
        response (..., samples); the energies of all leading axes are summed.
    """
    power = mean_period_power(response, period)
    return decibels(power[1:].sum() / power[0].clamp_min(torch.finfo(torch.float64).tiny))


def mean_period_power(response: Tensor, period: int) -> Tensor:
    """One-sided power spectrum of the mean period in a signal's middle third.

    Averaging over periods leaves 0 Hz and the multiples of the lowest rate, and nothing else. The
    powers sum to the mean period's mean square, averaged over the leading axes.

    Shape:
        (..., samples) -> (period // 2 + 1,).
    """
    signals = response.double().reshape(-1, response.shape[-1])
    periods = max(1, signals.shape[-1] // 3 // period)
    start = (signals.shape[-1] - periods * period) // 2
    middle = signals[:, start : start + periods * period]
    mean = middle.reshape(len(signals), periods, period).mean(dim=1)
    power = (torch.fft.rfft(mean) / period).abs().square()
    power[:, 1 : (period + 1) // 2] *= 2
    return power.mean(dim=0)


def average_power(signals: Tensor, n_fft: int) -> Tensor:
    """Power in long Hann windows, half overlapped, averaged over time.

    Shape:
        (..., samples) -> (..., n_fft // 2 + 1).
    """
    rows = signals.double().reshape(-1, signals.shape[-1])
    window = torch.hann_window(n_fft, dtype=torch.float64)
    powers = [  # one row at a time: long windows of eight outputs are half a gigabyte
        torch.fft.rfft(row.unfold(-1, n_fft, n_fft // 2) * window).abs().square().mean(dim=0)
        for row in rows
    ]
    return torch.stack(powers).reshape(*signals.shape[:-1], -1)


def peaks(power: Tensor, spacing: int) -> Tensor:
    """Power at every `spacing`-th bin over the mean of its neighbours on both sides.

    Shape:
        (freq,) -> (tones,): from the first multiple to the last below half the sample rate.
    """
    tones = torch.arange(spacing, len(power) - 1, spacing)
    beside = torch.tensor([*(-n for n in NEIGHBOURS), *NEIGHBOURS])
    around = power[(tones[:, None] + beside).clamp_max(len(power) - 1)].mean(dim=1)
    return power[tones] / around.clamp_min(torch.finfo(power.dtype).tiny)


def decibels(ratio: Tensor) -> float:
    """A ratio of powers in dB, not below float32's rounding; NaN stays NaN."""
    return (10 * ratio.clamp_min(FLOOR).log10()).item()
