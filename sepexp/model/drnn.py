"""Deep recurrent networks with a joint mask: Huang, Kim, Hasegawa-Johnson, Smaragdis, "Joint
optimization of masks and deep recurrent neural networks for monaural source separation", IEEE/ACM
TASLP 2015, arXiv 1502.04149.

The mask is part of the network, so the estimates add up to the mixture already in training. The
published task has 5,569,026 parameters (mono at 16 kHz, two sources, second layer recurrent).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from sepexp.dsp.stft import STFT
from sepexp.nn.spectra_only import spectra_only
from sepexp.nn.wiener import Wiener
from sepexp.separation import Separation

CHECKED = "golden and per-block counts; masks sum to one"

Mask = Callable[[Tensor], Tensor]


class DRNN(nn.Module):
    """Frame-wise layers, some of them recurrent, whose outputs share the mixture between targets.

    Every channel passes through the same network by itself.

    Args:
        sample_rate: Hz.
        n_fft, hop: Samples of a frame and between frames; the window is a sine.
        frames: Neighbouring frames at the input, an odd number with the current one in the middle.
        hidden: Features of each hidden layer.
        layers: Number of hidden layers.
        recurrent: Which of them are recurrent, counted from 1: [2] in the paper, [] for a plain
            network, all for the stacked one.
        mask: From outputs of all targets to their shares.
        wiener: From magnitudes and the mixture's spectrum to complex spectra.

    Shape:
        (batch, channels, samples) -> waveforms (batch, targets, channels, samples),
        spectra: magnitudes (batch, targets, channels, freq, frames).
    """

    waveforms_in_training = True  # False where no loss reads them

    def __init__(
        self,
        *,
        sample_rate: int,
        channels: int,
        targets: int,
        n_fft: int,
        hop: int,
        frames: int,
        hidden: int,
        layers: int,
        recurrent: Sequence[int],
        mask: Mask,
        wiener: Wiener,
    ) -> None:
        super().__init__()
        self.sample_rate, self.channels, self.context = sample_rate, channels, 0
        self.targets, self.frames, self.mask = targets, frames, mask
        self.stft = STFT(n_fft=n_fft, hop=hop, window="sine")
        widths = [frames * self.stft.freq] + layers * [hidden]
        self.layers = nn.Sequential(
            *(
                RecurrentLayer(a, b)
                if number in recurrent
                else nn.Sequential(linear(a, b), nn.ReLU())
                for number, (a, b) in enumerate(zip(widths, widths[1:], strict=False), start=1)
            ),
            linear(hidden, targets * self.stft.freq),
        )
        self.wiener = wiener

    def analyse(self, waveforms: Tensor) -> Tensor:
        """Magnitudes: (..., samples) -> (..., freq, frames)."""
        return self.stft.analyse(waveforms).abs()

    def forward(self, mixture: Tensor) -> Separation:
        spectrum = self.stft.analyse(mixture)
        magnitude = spectrum.abs()
        magnitudes = self.masks(magnitude) * magnitude[:, None]
        if self.training and not self.waveforms_in_training:
            return spectra_only(magnitudes)
        waveforms = self.stft.synthesise(self.wiener(magnitudes, spectrum), mixture.shape[-1])
        return Separation(waveforms, magnitudes)

    def masks(self, magnitude: Tensor) -> Tensor:
        """(batch, channels, freq, frames) -> (batch, targets, channels, freq, frames)."""
        batch = magnitude.shape[0]
        side = self.frames // 2
        around = F.pad(magnitude, (side, side)).unfold(-1, self.frames, 1)
        features = rearrange(
            around, "batch channels freq time near -> time (batch channels) (near freq)"
        )
        outputs = self.layers(features).float()
        outputs = rearrange(
            outputs,
            "time (batch channels) (targets freq) -> batch targets channels freq time",
            batch=batch,
            targets=self.targets,
        )
        return self.mask(outputs)


class RecurrentLayer(nn.Module):
    """relu(W x + b + U h): torch's layer has a second bias, which stays at zero.

    Shape:
        (time, batch, inputs) -> (time, batch, outputs).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.rnn = nn.RNN(inputs, outputs, nonlinearity="relu")
        for name, weight in self.rnn.named_parameters():
            nn.init.zeros_(weight) if "bias" in name else nn.init.xavier_uniform_(weight)
            weight.requires_grad_("bias_hh" not in name)

    def forward(self, features: Tensor) -> Tensor:
        return self.rnn(features)[0]


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer that starts uniform, scaled by fan-in and fan-out, without bias."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def linear_mask(outputs: Tensor) -> Tensor:
    """Shares a / sum(a) of outputs that should be positive; the sum is kept from zero by 1e-4.

    Shape:
        (batch, targets, ...) -> the same, adding up to one over targets.
    """
    total = outputs.sum(1, keepdim=True)
    away = torch.where(total < 0, -1.0, 1.0) * (1e-4 - total.abs()).clamp_min(0)
    targets = outputs.shape[1]
    return (outputs + away / targets) / (total + away)


def abs_mask(outputs: Tensor) -> Tensor:
    """Shares |a| / sum |a|, the paper's choice, equal where all are zero.

    Shape:
        (batch, targets, ...) -> the same, adding up to one over targets.
    """
    return shares((outputs.square() + 1e-10).sqrt())  # no kink at zero


def square_mask(outputs: Tensor) -> Tensor:
    """Shares a^2 / sum a^2, equal where all are zero.

    Shape:
        (batch, targets, ...) -> the same, adding up to one over targets.
    """
    return shares(outputs.square() + 1e-10)


def shares(positive: Tensor) -> Tensor:
    """(batch, targets, ...) over its sum over targets."""
    return positive / positive.sum(1, keepdim=True)
