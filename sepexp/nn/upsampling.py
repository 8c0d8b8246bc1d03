"""Layers that raise the rate of a decoder: same lengths, different artefacts.

Pons et al., "Upsampling Artifacts in Neural Audio Synthesis", arXiv 2010.14356.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from sepexp.errors import UserError
from sepexp.nn.wavelet import idwt

KINDS = ("transposed", "nearest", "linear", "learned", "subpixel", "wavelet")


def make_upsampler(kind: str, *, inputs: int, outputs: int, kernel: int, stride: int) -> nn.Module:
    """A layer that turns frames into (frames - 1) * stride + kernel, whatever its kind.

    Args:
        kind: "transposed" convolution; "nearest", "linear" or "learned" interpolation and then a
            convolution of kernel + 1 taps; "subpixel", a convolution whose output channels are
            interleaved; "wavelet", the same with inverse Haar transforms instead of interleaving.
        inputs: Channels in. outputs: channels out.

    Shape:
        (batch, inputs, frames) -> (batch, outputs, (frames - 1) * stride + kernel).
    """
    if kind == "transposed":
        return nn.ConvTranspose1d(inputs, outputs, kernel, stride)
    if kind in ("nearest", "linear", "learned"):
        return Interpolated(kind, inputs=inputs, outputs=outputs, kernel=kernel, stride=stride)
    if kind in ("subpixel", "wavelet"):
        return Interleaved(
            inputs=inputs, outputs=outputs, kernel=kernel, stride=stride, wavelet=kind == "wavelet"
        )
    raise UserError(f"upsampling is {kind!r}: expected one of {', '.join(KINDS)}")


class Interpolated(nn.Module):
    """Interpolation, then a convolution at the higher rate: no tones, but a duller top."""

    def __init__(self, kind: str, *, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        if stride % 2 or kernel < stride:
            raise UserError(f"stride is {stride}: interpolation needs an even one, at most kernel")
        self.kind, self.stride = kind, stride
        self.learned = LearnedInterpolation(inputs, stride) if kind == "learned" else None
        # one tap more than the kernel and this padding centre it on the transposed one's output
        self.conv = nn.Conv1d(inputs, outputs, kernel + 1, padding=kernel - stride // 2)

    def forward(self, features: Tensor) -> Tensor:
        if self.learned is not None:
            return self.conv(self.learned(features))
        return self.conv(F.interpolate(features, scale_factor=float(self.stride), mode=self.kind))


class LearnedInterpolation(nn.Module):
    """Between two neighbours at a learned point for every channel and phase; starts linear.

    Shape:
        (batch, channels, frames) -> (batch, channels, frames * stride).
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        # phase p lies at (p + 1/2) / stride - 1/2 from its frame: half of them look back
        place = (torch.arange(stride) + 0.5) / stride + 0.5
        self.weight = nn.Parameter(torch.logit(place % 1).repeat(channels, 1))

    def forward(self, features: Tensor) -> Tensor:
        padded = F.pad(features, (1, 1), mode="replicate")
        before, here, after = padded[..., :-2], padded[..., 1:-1], padded[..., 2:]
        half = self.weight.shape[1] // 2
        towards = self.weight.sigmoid()[:, None]  # channels 1 stride
        early = torch.lerp(before[..., None], here[..., None], towards[..., :half])
        late = torch.lerp(here[..., None], after[..., None], towards[..., half:])
        return torch.cat([early, late], dim=-1).flatten(-2)


class Interleaved(nn.Module):
    """A convolution to stride times the channels, which then become samples.

    With plain interleaving ("subpixel") it can do exactly what a transposed convolution of full
    overlap can, with another initialisation; the wavelet mixes the phases by inverse Haar
    transforms.
    """

    def __init__(
        self, *, inputs: int, outputs: int, kernel: int, stride: int, wavelet: bool
    ) -> None:
        super().__init__()
        if kernel % stride:
            raise UserError(f"kernel is {kernel}: expected a multiple of the stride {stride}")
        if wavelet and stride & (stride - 1):
            raise UserError(f"stride is {stride}: a wavelet needs a power of two")
        self.stride, self.wavelet = stride, wavelet
        taps = kernel // stride
        self.conv = nn.Conv1d(inputs, outputs * stride, taps, padding=taps - 1)

    def forward(self, features: Tensor) -> Tensor:
        phases = self.conv(features)
        if not self.wavelet:
            return rearrange(
                phases,
                "batch (channels stride) frames -> batch channels (frames stride)",
                stride=self.stride,
            )
        for _ in range(self.stride.bit_length() - 1):
            phases = idwt(phases, "haar")
        return phases
