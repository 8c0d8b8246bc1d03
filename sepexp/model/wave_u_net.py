"""Wave-U-Net and its published extensions.

Stoller, Ewert and Dixon, "Wave-U-Net: A Multi-Scale Neural Network for End-to-End Audio Source
Separation", arXiv 1806.03185. Extensions: label conditioning (Slizovskaia et al., arXiv
1811.01850), recurrent bottleneck (Kaspersen et al., "HydraNet", ICASSP 2020), dilated dense levels
(Narayanaswamy et al., arXiv 1904.04161), wavelet resampling (Nakamura and Saruwatari, arXiv
2001.10190).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional as F

from sepexp.errors import UserError
from sepexp.nn.residual import insert_residual
from sepexp.nn.upsampling import make_upsampler
from sepexp.nn.wavelet import dwt, idwt
from sepexp.separation import Separation

CHECKED = "golden counts, published lengths (147443 -> 16389)"
UPSAMPLING = ("linear", "learned", "nearest", "transposed", "subpixel")


class WaveUNet(nn.Module):
    """Convolutions and plain decimation down, interpolation and convolutions up, skips by name.

    With `padding: valid` nothing is padded: the network reads `context` samples more on each side
    than it estimates (65527 with 12 levels), upsampling makes 2n - 1 samples of n, and crops stay
    symmetric; a segment whose estimates don't fill the layers' arithmetic (16389 samples, 4096 more
    for each further frame) reads zeros at its right end. With `padding: same` zeros fill the edges,
    as in the paper's M1 and M2. Unlike the official code, the residual target isn't clipped to
    [-1, 1] at test time.

    The papers of three extensions leave sizes open; these are our choices. Conditioning: one
    network is asked for one target after another by a one-hot label, which multiplies the
    bottleneck (or is concatenated to it, or scales and shifts every level). Recurrence: one
    bidirectional LSTM whose projection is added to the bottleneck. Dense levels: convolutions of
    `dense_kernel` taps, each reading all before it, then a 1x1 convolution to the level's width.

    Args:
        sample_rate: Hz. channels: of the audio. targets: number of estimates.
        levels: Decimations. width: channels that each level adds.
        down_kernel, up_kernel: Taps of the convolutions, odd.
        padding: "valid" or "same".
        upsampling: "linear" or "learned" (a weight for each channel between two neighbours) as
            published. To compare artefacts also "nearest", and two layers with weights of their
            own, of 2 taps, so that every segment's arithmetic stays: "transposed" and "subpixel".
        residual: Index of the target that is the mixture minus the others, null for none; the
            official code makes it the vocals.
        output_activation: "tanh" or "linear", of the predicted targets.
        slope: Of the LeakyReLUs below zero.
        condition: "none", "multiply", "concat" or "film"; predicts every target, so needs
            `residual: null`.
        lstm: Units in each direction at the bottleneck, 0 for none.
        dilations: Of a dense level's convolutions; empty for plain levels.
        growth, dense_kernel: Channels and taps of each of them.
        wavelet: Of the transform that replaces decimation and interpolation, null for none.

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
        levels: int,
        width: int,
        down_kernel: int,
        up_kernel: int,
        padding: str,
        upsampling: str,
        residual: int | None,
        output_activation: str,
        slope: float,
        condition: str,
        lstm: int,
        dilations: Sequence[int],
        growth: int,
        dense_kernel: int,
        wavelet: str | None,
    ) -> None:
        super().__init__()
        _check("padding", padding, ("valid", "same"))
        _check("upsampling", upsampling, UPSAMPLING)
        _check("output_activation", output_activation, ("tanh", "linear"))
        _check("condition", condition, ("none", "multiply", "concat", "film"))
        _check_fit(
            padding=padding,
            eats_context=bool(dilations or wavelet),
            kernels=(down_kernel, up_kernel),
            conditioned=condition != "none",
            residual=residual,
        )
        self.sample_rate, self.channels, self.targets = sample_rate, channels, targets
        self.levels, self.down_kernel, self.up_kernel = levels, down_kernel, up_kernel
        self.valid, self.residual, self.wavelet = padding == "valid", residual, wavelet
        self.condition, self.slope, self.tanh = condition, slope, output_activation == "tanh"
        self.context = self._reads_beyond() if self.valid else 0

        def level(inputs: int, outputs: int, kernel: int) -> nn.Module:
            if dilations:
                return DenseLevel(inputs, outputs, dense_kernel, dilations, growth, slope)
            same = 0 if self.valid else kernel // 2
            return nn.Sequential(
                nn.Conv1d(inputs, outputs, kernel, padding=same), nn.LeakyReLU(slope)
            )

        widths = [width * (index + 1) for index in range(levels + 1)]  # the last: bottleneck
        into = [channels] + [size * (2 if wavelet else 1) for size in widths[:-1]]
        self.down = nn.ModuleList(
            level(i, o, down_kernel) for i, o in zip(into[:-1], widths[:-1], strict=True)
        )
        self.bottleneck = level(into[-1], widths[-1], down_kernel)
        labels = targets if condition == "concat" else 0
        below = [size + (labels if size == widths[-1] else 0) for size in widths[:0:-1]]
        if wavelet and any(size % 2 for size in below):
            raise UserError(f"an inverse wavelet halves the widths {below}: they must be even")
        self.nearest = upsampling == "nearest"
        self.interpolators = _interpolators(upsampling, [] if wavelet else below)
        self.up = nn.ModuleList(
            level(size // (2 if wavelet else 1) + skip, skip, up_kernel)
            for size, skip in zip(below, widths[-2::-1], strict=True)
        )
        predicted = 1 if condition != "none" else targets - (residual is not None)
        self.head = nn.Conv1d(width + channels, predicted * channels, 1)
        self.recurrence = Recurrence(widths[-1], lstm) if lstm else None
        self.label = nn.Linear(targets, widths[-1]) if condition == "multiply" else None
        self.films = nn.ModuleList(
            nn.Linear(targets, 2 * size) for size in widths if condition == "film"
        )
        self._initialise()

    def _initialise(self) -> None:
        """Glorot-uniform weights and zero biases: the defaults of the official code's framework."""
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def lengths(self, frames: int) -> tuple[int, int]:
        """Samples read and samples estimated for `frames` that leave a valid bottleneck."""
        read, estimated = frames + self.down_kernel - 1, frames
        for _ in range(self.levels):
            read = 2 * read - 1 + self.down_kernel - 1
            estimated = 2 * estimated - 1 - (self.up_kernel - 1)
        return read, estimated

    def _reads_beyond(self) -> int:
        read, estimated = self.lengths(1)  # every further frame adds as much to both
        return (read - estimated) // 2

    def upsampled_rates(self) -> list[float]:
        """Hz of what each decoder layer upsamples, the last layer's first."""
        return [self.sample_rate / 2 ** (level + 1) for level in range(self.levels)]

    def fitting(self, samples: int) -> int:
        """The shortest input that fits the layers and estimates at least so many samples."""
        if not self.valid:
            return -(-samples // 2**self.levels) * 2**self.levels
        _, first = self.lengths(1)
        frames = 1 + max(0, -(-(samples - first) // 2**self.levels))
        return self.lengths(frames)[0]

    def forward(self, mixture: Tensor) -> Separation:
        batch, _, length = mixture.shape
        samples = length - 2 * self.context
        if samples < 1:
            raise UserError(
                f"{length} samples came, of which {2 * self.context} are context: "
                "read longer segments"
            )
        waves = F.pad(mixture, (0, self.fitting(samples) - length))
        labels = None
        if self.condition != "none":  # every item is asked for every target
            labels = torch.eye(self.targets, device=mixture.device).repeat(batch, 1)
            if self.condition == "film":  # the encoder, too, knows what is asked for
                waves = waves.repeat_interleave(self.targets, dim=0)
        features, skips = self._encode(waves, labels)
        if labels is not None and self.condition != "film":
            repeats = self.targets
            features, waves = (part.repeat_interleave(repeats, dim=0) for part in (features, waves))
            skips = [skip.repeat_interleave(repeats, dim=0) for skip in skips]
            features = self._ask(features, labels)
        features = self._decode(features, skips)
        features = torch.cat([_crop(waves, features.shape[-1]), features], dim=1)
        predicted = self.head(features)[..., :samples]
        predicted = predicted.tanh() if self.tanh else predicted
        waveforms = rearrange(
            predicted,
            "(batch asked) (targets channels) samples -> batch (asked targets) channels samples",
            batch=batch,
            channels=self.channels,
        )
        if self.residual is not None:
            centre = mixture[..., self.context : self.context + samples]
            waveforms = insert_residual(waveforms, centre, self.residual)
        return Separation(waveforms)

    def _encode(self, waves: Tensor, labels: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        features, skips = waves, []
        for index, level in enumerate(self.down):
            features = self._film(level(features), labels, index)
            skips.append(features)
            features = dwt(features, self.wavelet) if self.wavelet else features[..., ::2]
        features = self._film(self.bottleneck(features), labels, self.levels)
        return features if self.recurrence is None else self.recurrence(features), skips

    def _film(self, features: Tensor, labels: Tensor | None, index: int) -> Tensor:
        if labels is None or self.condition != "film":
            return features
        scale, shift = self.films[index](labels)[..., None].chunk(2, dim=1)
        return features * (1 + scale) + shift

    def _ask(self, features: Tensor, labels: Tensor) -> Tensor:
        if self.label is not None:
            return features * self.label(labels)[..., None]
        frames = features.shape[-1]
        return torch.cat([features, repeat(labels, "asked n -> asked n t", t=frames)], dim=1)

    def _decode(self, features: Tensor, skips: list[Tensor]) -> Tensor:
        for index, level in enumerate(self.up):
            features = self._upsample(features, index)
            skip = _crop(skips[-1 - index], features.shape[-1])
            features = level(torch.cat([skip, features], dim=1))
        return features

    def _upsample(self, features: Tensor, index: int) -> Tensor:
        if self.wavelet:
            return idwt(features, self.wavelet)
        frames = 2 * features.shape[-1] - self.valid
        if len(self.interpolators):
            return self.interpolators[index](features)[..., :frames]
        if self.nearest:
            return features.repeat_interleave(2, dim=-1)[..., :frames]
        return F.interpolate(features, frames, mode="linear", align_corners=self.valid)


def _check_fit(
    *,
    padding: str,
    eats_context: bool,
    kernels: tuple[int, int],
    conditioned: bool,
    residual: int | None,
) -> None:
    """Refuse settings that don't go together."""
    if padding == "valid" and eats_context:
        raise UserError("dilations and wavelets need padding same: they would eat the context")
    if any(kernel % 2 == 0 for kernel in kernels):
        raise UserError(f"kernels are {kernels[0]}, {kernels[1]}: expected odd numbers")
    if conditioned and residual is not None:
        raise UserError("a conditioned network predicts every target: set residual to null")


def _interpolators(upsampling: str, widths: Sequence[int]) -> nn.ModuleList:
    """Doubling layers with weights; none where upsampling has no weights."""
    if upsampling == "learned":
        return nn.ModuleList(Interpolator(size) for size in widths)
    if upsampling in ("transposed", "subpixel"):
        return nn.ModuleList(
            make_upsampler(upsampling, inputs=size, outputs=size, kernel=2, stride=2)
            for size in widths
        )
    return nn.ModuleList()


class Interpolator(nn.Module):
    """Puts between two neighbours a mean of both with a learned weight for every channel.

    Shape:
        (batch, channels, frames) -> (batch, channels, 2 * frames); the last repeats its neighbour.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor) -> Tensor:
        after = torch.cat([features[..., 1:], features[..., -1:]], dim=-1)
        between = torch.lerp(after, features, self.weight.sigmoid().to(features.dtype)[:, None])
        return torch.stack([features, between], dim=-1).flatten(-2)


class DenseLevel(nn.Module):
    """Dilated convolutions that each read all before them, then a 1x1 convolution.

    Shape:
        (batch, inputs, frames) -> (batch, outputs, frames).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        dilations: Sequence[int],
        growth: int,
        slope: float,
    ) -> None:
        super().__init__()
        self.slope = slope
        self.convs = nn.ModuleList(
            nn.Conv1d(
                inputs + index * growth,
                growth,
                kernel,
                dilation=dilation,
                padding=dilation * (kernel // 2),
            )
            for index, dilation in enumerate(dilations)
        )
        self.mix = nn.Conv1d(inputs + len(dilations) * growth, outputs, 1)

    def forward(self, features: Tensor) -> Tensor:
        for conv in self.convs:
            features = torch.cat([features, F.leaky_relu(conv(features), self.slope)], dim=1)
        return F.leaky_relu(self.mix(features), self.slope)


class Recurrence(nn.Module):
    """A bidirectional LSTM over frames, projected back and added.

    Shape:
        (batch, channels, frames) -> the same.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(channels, hidden, batch_first=True, bidirectional=True)
        self.linear = nn.Linear(2 * hidden, channels)

    def forward(self, features: Tensor) -> Tensor:
        hidden, _ = self.lstm(features.transpose(1, 2))
        return features + self.linear(hidden).transpose(1, 2)


def _crop(wide: Tensor, samples: int) -> Tensor:
    """The centre of the last axis."""
    start = (wide.shape[-1] - samples) // 2
    return wide[..., start : start + samples]


def _check(name: str, value: str, expected: Sequence[str]) -> None:
    if value not in expected:
        raise UserError(f"{name} is {value!r}: expected {' or '.join(expected)}")
