"""Demucs, versions 1 and 2: a waveform U-Net with GLUs, additive skips and a BiLSTM.

Défossez, Usunier, Bottou and Bach, "Music Source Separation in the Waveform Domain",
arXiv 1911.13254.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sepexp.errors import UserError
from sepexp.nn.doubling import Doubling
from sepexp.nn.upsampling import make_upsampler
from sepexp.separation import Separation

CHECKED = (
    "golden and per-block counts; same weights, same output as demucs 2.0.3; published lengths"
)


class Demucs(nn.Module):
    """Strided convolutions down, a BiLSTM, upsampling convolutions up; waveforms without masks.

    The 64-channel model has 265,679,496 parameters; the 66.42 M that are quoted for it are that
    number divided by four. Version 1 is `resample: false`, version 2 `resample: true`. Nothing in
    the decoder is padded, so the model reads `context` samples more on each side than it
    estimates: 5460 in version 1, 2730 in version 2.

    Args:
        sample_rate: Hz. channels: of the audio. targets: number of estimates.
        width: Channels of the first encoder layer. growth: factor from layer to layer.
        depth: Layers down and up.
        kernel: Taps of the strided convolutions. stride: of them.
        context_kernel: Taps of the convolution before each upsampling; 1 reads no context.
        rewrite: Whether there are 1x1 convolutions in the encoder and those of `context_kernel`.
        activation: After them: "glu" or "relu".
        lstm_layers: Bidirectional layers between encoder and decoder, 0 for none.
        rescale: Standard deviation towards which initial weights are moved half-way, 0 for off.
        resample: Work at twice the rate.
        normalize: Divide by the mixture's standard deviation and multiply the estimates by it.
        upsampling: "transposed" as published, or another of `sepexp.nn.upsampling`, or
            "decimation": version 1's option of convolutions at full rate that keep every
            `stride`-th sample, linear interpolation before each decoder layer, and a last 1x1
            convolution that also sees the mixture.

    Shape:
        mixture (batch, channels, samples + 2 * context) ->
        waveforms (batch, targets, channels, samples).
    """

    def __init__(
        self,
        *,
        sample_rate: int,
        channels: int,
        targets: int,
        width: int,
        depth: int,
        growth: float,
        kernel: int,
        stride: int,
        context_kernel: int,
        rewrite: bool,
        activation: str,
        lstm_layers: int,
        rescale: float,
        resample: bool,
        normalize: bool,
        upsampling: str,
    ) -> None:
        super().__init__()
        if activation not in ("glu", "relu"):
            raise UserError(f"activation is {activation!r}: expected glu or relu")
        if context_kernel % 2 == 0:
            raise UserError(f"context_kernel is {context_kernel}: expected an odd number")
        self.sample_rate, self.channels, self.targets = sample_rate, channels, targets
        self.depth, self.kernel, self.stride = depth, kernel, stride
        self.normalize = normalize
        self.decimate = upsampling == "decimation"
        self.margin = (context_kernel - 1) // 2 if rewrite else 0  # frames lost a decoder layer
        self.upsample = Doubling() if resample else None
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        inputs = channels
        for index in range(depth):
            outputs = int(width * growth**index)
            down: list[nn.Module] = [
                nn.Conv1d(inputs, outputs, kernel, 1 if self.decimate else stride),
                nn.ReLU(inplace=True),
            ]
            up: list[nn.Module] = []
            if rewrite:
                down += _gated(outputs, 1, activation)
                up += _gated(outputs, context_kernel, activation)
            if self.decimate:
                up.append(nn.Conv1d(outputs, inputs if index else outputs, kernel))
            else:
                final = inputs if index else targets * channels
                sizes = {"inputs": outputs, "outputs": final, "kernel": kernel, "stride": stride}
                up.append(make_upsampler(upsampling, **sizes))
            up += [nn.ReLU(inplace=True)] if index else []
            self.encoder.append(nn.Sequential(*down))
            self.decoder.insert(0, nn.Sequential(*up))
            inputs = outputs
        self.lstm = BiLSTM(inputs, lstm_layers) if lstm_layers else None
        self.final = nn.Conv1d(width + channels, targets * channels, 1) if self.decimate else None
        # at twice the rate the samples lost on each side are half as many; odd ones round up
        self.context = math.ceil(self._lost() / 2) if resample else self._lost()
        if rescale:
            rescale_convolutions(self, rescale)

    def _lost(self) -> int:
        """Samples at the network's own rate that it reads before the first that it estimates."""
        if self.decimate:
            return sum(
                (self.kernel - 1 + self.margin) * self.stride**level for level in range(self.depth)
            )
        return sum(self.margin * self.stride ** (level + 1) for level in range(self.depth))

    def _lengths(self, frames: int) -> tuple[int, int]:
        """Samples read and estimated, at the network's own rate, for `frames` in the middle."""
        read = estimated = frames
        for _ in range(self.depth):
            if self.decimate:
                read = (read - 1) * self.stride + self.kernel
                estimated = (estimated - 1) * self.stride - 2 * self.margin - (self.kernel - 1)
            else:
                read = (read - 1) * self.stride + self.kernel
                estimated = (estimated - 2 * self.margin - 1) * self.stride + self.kernel
        return read, estimated

    def upsampled_rates(self) -> list[float]:
        """Hz of what each decoder layer upsamples, the last layer's first."""
        own = self.sample_rate * (1 if self.upsample is None else 2)
        return [own / self.stride ** (layer + 1) for layer in range(self.depth)]

    def valid_length(self, samples: int) -> int:
        """The shortest input, at `sample_rate`, that fits the layers and estimates `samples`."""
        factor = 2 if self.upsample is not None else 1
        frames = 1
        for step in (2**power for power in range(samples.bit_length(), -1, -1)):
            if self._lengths(frames + step - 1)[1] < factor * samples:
                frames += step
        return math.ceil(self._lengths(frames)[0] / factor)

    def forward(self, mixture: Tensor) -> Separation:
        samples = mixture.shape[-1] - 2 * self.context
        if samples < 1:
            raise UserError(
                f"{mixture.shape[-1]} samples came, of which {2 * self.context} are context: "
                "read longer segments"
            )
        mean, std = self._statistics(mixture)
        waves = (mixture - mean) / (1e-5 + std)
        waves = F.pad(waves, (0, self.valid_length(samples) - mixture.shape[-1]))
        waves = waves if self.upsample is None else self.upsample(waves)
        waves = self._separate(waves)
        if self.upsample is not None:
            waves = self.upsample.undo(waves)
        waves = waves[..., :samples] * std + mean
        return Separation(waves.unflatten(1, (self.targets, self.channels)))

    def _statistics(self, mixture: Tensor) -> tuple[Tensor, Tensor]:
        if not self.normalize:
            return mixture.new_zeros(()), mixture.new_ones(())
        mono = mixture.mean(dim=1, keepdim=True)
        return mono.mean(dim=-1, keepdim=True), mono.std(dim=-1, keepdim=True)

    def _separate(self, waves: Tensor) -> Tensor:
        features, skips = waves, []
        for encode in self.encoder:
            features = encode(features)
            skips.append(features)
            features = features[..., :: self.stride] if self.decimate else features
        features = features if self.lstm is None else self.lstm(features)
        lost = 0  # samples between the first of the skip and the first of the features
        for decode in self.decoder:
            if self.decimate:
                features, lost = interpolate(features, self.stride), lost * self.stride
            # by itself, so that what was summed is freed before the layer makes more
            features = features + skips.pop()[..., lost : lost + features.shape[-1]]
            features = decode(features)
            lost += self.margin
            lost = lost + self.kernel - 1 if self.decimate else lost * self.stride
        if self.final is not None:
            seen = waves[..., lost : lost + features.shape[-1]]
            features = self.final(torch.cat([features, seen], dim=1))
        return features


def _gated(width: int, kernel: int, activation: str) -> list[nn.Module]:
    """A convolution that keeps its width, with a GLU or a ReLU."""
    if activation == "glu":
        return [nn.Conv1d(width, 2 * width, kernel), nn.GLU(dim=1)]
    return [nn.Conv1d(width, width, kernel), nn.ReLU(inplace=True)]


class BiLSTM(nn.Module):
    """Bidirectional LSTM over frames and a projection back to its width.

    Shape:
        (batch, channels, frames) -> the same.
    """

    def __init__(self, channels: int, layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(channels, channels, layers, bidirectional=True)
        self.linear = nn.Linear(2 * channels, channels)

    def forward(self, features: Tensor) -> Tensor:
        hidden, _ = self.lstm(features.permute(2, 0, 1))  # frames batch channels
        return self.linear(hidden).permute(1, 2, 0)


def interpolate(features: Tensor, stride: int) -> Tensor:
    """Linear: (batch, channels, frames) -> (batch, channels, (frames - 1) * stride)."""
    weight = torch.arange(stride, device=features.device, dtype=features.dtype) / stride
    return torch.lerp(features[..., :-1, None], features[..., 1:, None], weight).flatten(-2)


@torch.no_grad()
def rescale_convolutions(module: nn.Module, reference: float) -> None:
    """Move the deviation of every convolution's weights half-way, on a log scale, to a reference.

    Weight and bias are divided by sqrt(std / reference), once, at initialisation.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d):
            scale = (layer.weight.std() / reference).sqrt()
            layer.weight /= scale
            if layer.bias is not None:
                layer.bias /= scale
