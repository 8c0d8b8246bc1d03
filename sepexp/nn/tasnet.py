"""The temporal convolutional mask network that the Conv-TasNet family shares."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from sepexp.errors import UserError

NORM_EPS = 1e-8  # the papers' value; inside the root


class ChannelNorm(nn.Module):
    """Layer norm over the channels of each frame ("cLN"), with a gain and a bias for a channel.

    Shape:
        (batch, channels, frames) -> the same.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor) -> Tensor:
        by_frame = features.transpose(1, 2)
        normed = F.layer_norm(by_frame, self.weight.shape, self.weight, self.bias, NORM_EPS)
        return normed.transpose(1, 2)


def make_norm(kind: str, channels: int) -> nn.Module:
    """A norm by its name: "gln" (over channels and frames), "cln", "bn" (batch norm) or "none"."""
    if kind == "gln":
        return nn.GroupNorm(1, channels, eps=NORM_EPS)
    if kind == "cln":
        return ChannelNorm(channels)
    if kind == "bn":
        return nn.BatchNorm1d(channels)
    if kind == "none":
        return nn.Identity()
    raise UserError(f"norm is {kind!r}: expected gln, cln, bn or none")


def make_mask(scores: Tensor, kind: str) -> Tensor:
    """Masks from scores (batch, targets, bases, frames): "relu", "sigmoid" or "softmax"."""
    if kind == "relu":
        return scores.relu()
    if kind == "sigmoid":
        return scores.sigmoid()
    if kind == "softmax":  # over the targets: masks sum to one
        return scores.softmax(dim=1)
    raise UserError(f"mask is {kind!r}: expected relu, sigmoid or softmax")


class TemporalBlock(nn.Module):
    """1x1 conv, dilated depthwise conv, then a residual and, if asked for, a skip output.

    Args:
        width: Channels in and out.
        hidden: Channels of the depthwise convolution.
        skip: Channels of the skip output, 0 for none.
        residual: Whether there is a residual output; the last block of a skip network needs none.

    Shape:
        (batch, width, frames) -> (batch, width, frames), (batch, skip, frames) or None.
    """

    def __init__(
        self,
        *,
        width: int,
        hidden: int,
        kernel: int,
        dilation: int,
        skip: int,
        bias: bool,
        norm: str,
        causal: bool,
        residual: bool,
    ) -> None:
        super().__init__()
        reach = (kernel - 1) * dilation
        self.padding = (reach, 0) if causal else (reach // 2, reach - reach // 2)
        self.expand = nn.Sequential(
            nn.Conv1d(width, hidden, 1, bias=bias), nn.PReLU(), make_norm(norm, hidden)
        )
        self.depthwise = nn.Conv1d(
            hidden, hidden, kernel, dilation=dilation, groups=hidden, bias=bias
        )
        self.activate = nn.Sequential(nn.PReLU(), make_norm(norm, hidden))
        self.residual = nn.Conv1d(hidden, width, 1, bias=bias) if residual else None
        self.skip = nn.Conv1d(hidden, skip, 1, bias=bias) if skip else None

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        convolve, *rest = self.expand
        hidden = activate(convolve(features), *rest)
        hidden = convolve_channels(hidden, self.depthwise, self.padding)
        hidden = activate(hidden, *self.activate)
        outputs = [layer for layer in (self.residual, self.skip) if layer is not None]
        if len(outputs) == 2:  # one product reads the hidden channels once
            residual, skip = both(hidden, *outputs)
            return features + residual, skip
        if self.skip is not None:
            return features, self.skip(hidden)
        return (features if self.residual is None else features + self.residual(hidden)), None


def both(hidden: Tensor, first: nn.Conv1d, second: nn.Conv1d) -> tuple[Tensor, Tensor]:
    """Outputs of two 1x1 convolutions of the same features, made by one."""
    weight = torch.cat([first.weight, second.weight])
    biases = [layer.bias for layer in (first, second) if layer.bias is not None]
    made = F.conv1d(hidden, weight, torch.cat(biases) if biases else None)
    return made.split([first.out_channels, second.out_channels], dim=1)


def by_hand(features: Tensor) -> bool:
    """Whether a gradient is needed for which this file has a faster way than torch.

    On a CPU torch's own gradients of PReLU and of dilated depthwise convolutions take several times
    as long as their values. The compiler writes its own, and autocast mixes precisions.
    """
    return (
        features.device.type == "cpu"
        and features.requires_grad
        and torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def activate(features: Tensor, prelu: nn.PReLU, norm: nn.Module) -> Tensor:
    """PReLU, then norm."""
    if isinstance(norm, nn.GroupNorm) and by_hand(features):
        return ActivateNorm.apply(features, prelu.weight, norm.weight, norm.bias)
    return norm(prelu(features))


class ActivateNorm(torch.autograd.Function):
    """A PReLU with one slope and a global norm that keep only their input for the gradient.

    Shape:
        features (batch, channels, frames), slope (1,), gain (channels,), bias (channels,)
        -> (batch, channels, frames).
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, slope: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        batch, channels, frames = features.shape
        active = F.prelu(features, slope)
        normed, mean, rstd = torch.native_group_norm(
            active, gain, bias, batch, channels, frames, 1, NORM_EPS
        )
        ctx.save_for_backward(features, slope, gain, mean, rstd)
        return normed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        features, slope, gain, mean, rstd = ctx.saved_tensors
        batch, channels, frames = features.shape
        gradient, to_gain, to_bias = torch.ops.aten.native_group_norm_backward(
            gradient.contiguous(),
            F.prelu(features, slope),
            mean,
            rstd,
            gain,
            batch,
            channels,
            frames,
            1,
            [True, True, True],
        )
        to_slope = torch.dot(gradient.flatten(), features.clamp_max(0).flatten())
        gradient = torch.ops.aten.leaky_relu_backward(gradient, features, slope.item(), False)
        return gradient, to_slope[None], to_gain, to_bias


def convolve_channels(features: Tensor, layer: nn.Conv1d, padding: tuple[int, int]) -> Tensor:
    """A depthwise convolution with zeros beyond both ends."""
    if by_hand(features):
        return Depthwise.apply(features, layer.weight, layer.bias, layer.dilation[0], padding)
    return pad_and_convolve(features, layer.weight, layer.bias, layer.dilation[0], padding)


def pad_and_convolve(
    features: Tensor, weight: Tensor, bias: Tensor | None, dilation: int, padding: tuple[int, int]
) -> Tensor:
    before, after = padding
    if before != after:  # equal ones inside the convolution save a copy
        features, before = F.pad(features, padding), 0
    return F.conv1d(
        features, weight, bias, padding=before, dilation=dilation, groups=weight.shape[0]
    )


class Depthwise(torch.autograd.Function):
    """A depthwise convolution whose gradient is made of shifted products, one for each tap.

    Shape:
        features (batch, channels, frames), weight (channels, 1, taps), bias (channels,) or None
        -> (batch, channels, frames).
    """

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        dilation: int,
        padding: tuple[int, int],
    ) -> Tensor:
        ctx.save_for_backward(features, weight)
        ctx.places = [tap * dilation - padding[0] for tap in range(weight.shape[-1])]
        ctx.biased = bias is not None
        return pad_and_convolve(features, weight, bias, dilation, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        features, weight = ctx.saved_tensors
        frames = features.shape[-1]
        to_features, to_weight = torch.zeros_like(features), torch.zeros_like(weight)
        for tap, place in enumerate(ctx.places):  # output t has read features[t + place]
            out = slice(max(0, -place), max(0, frames - max(0, place)))
            read = slice(out.start + place, out.stop + place)
            if out.start >= out.stop:
                continue
            to_features[..., read].addcmul_(gradient[..., out], weight[:, :, tap])
            products = torch.linalg.vecdot(gradient[..., out], features[..., read])
            to_weight[:, 0, tap] = products.sum(0)
        to_bias = gradient.sum((0, 2)) if ctx.biased else None
        return to_features, to_weight, to_bias, None, None


class MaskNetwork(nn.Module):
    """Norm, bottleneck, repeats of blocks with dilations 1, 2, 4, ..., and the masks' head.

    Args:
        bases: Channels of the latent that the masks belong to.
        bottleneck: Channels between blocks. hidden: channels inside a block.
        kernel: Taps of the depthwise convolutions.
        blocks: Blocks of a repeat; block x has dilation 2**x.
        skip: Channels of the skip path whose sum feeds the head; 0 feeds the last residual.
        bias: Whether convolutions have one.
        norm: Of the blocks: "gln", "cln", "bn" or "none". input_norm: of the latent.
        mask: "relu", "sigmoid" or "softmax".
        head_prelu: A PReLU before the head.
        last_residual: Build the last block's residual output even where a skip path makes it
            useless, as the paper's parameter count does.

    Shape:
        (batch, bases, frames) -> (batch, targets, bases, frames).
    """

    def __init__(
        self,
        *,
        bases: int,
        bottleneck: int,
        hidden: int,
        kernel: int,
        blocks: int,
        repeats: int,
        targets: int,
        skip: int,
        bias: bool,
        norm: str,
        input_norm: str,
        mask: str,
        head_prelu: bool,
        last_residual: bool,
        causal: bool,
    ) -> None:
        super().__init__()
        if causal and (norm == "gln" or input_norm == "gln"):
            raise UserError("a causal network can't see the statistics of gln: take norm cln or bn")
        make_mask(torch.zeros(1, 1, 1, 1), mask)  # an unknown name fails here, not in training
        self.targets, self.mask = targets, mask
        self.input_norm = make_norm(input_norm, bases)
        self.bottleneck = nn.Conv1d(bases, bottleneck, 1, bias=bias)
        self.blocks = nn.ModuleList(
            TemporalBlock(
                width=bottleneck,
                hidden=hidden,
                kernel=kernel,
                dilation=2 ** (index % blocks),
                skip=skip,
                bias=bias,
                norm=norm,
                causal=causal,
                residual=not skip or last_residual or index < blocks * repeats - 1,
            )
            for index in range(blocks * repeats)
        )
        self.head_prelu = nn.PReLU() if head_prelu else nn.Identity()
        self.head = nn.Conv1d(skip or bottleneck, targets * bases, 1, bias=bias)

    def forward(self, latent: Tensor) -> Tensor:
        batch, bases, frames = latent.shape
        features = self.bottleneck(self.input_norm(latent))
        skips = None
        for block in self.blocks:
            features, skip = block(features)
            if skip is not None:
                skips = skip if skips is None else skips + skip
        scores = self.head(self.head_prelu(features if skips is None else skips))
        return make_mask(scores.view(batch, self.targets, bases, frames), self.mask)
