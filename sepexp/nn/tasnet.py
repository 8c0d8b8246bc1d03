"""The temporal convolutional mask network that the Conv-TasNet family shares."""

from __future__ import annotations

import torch
from torch import Tensor, nn
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
        same = 0 if causal or reach % 2 else reach // 2  # padding inside the conv saves a copy
        self.pads_itself = same > 0 or reach == 0
        self.depthwise = nn.Conv1d(
            hidden, hidden, kernel, dilation=dilation, padding=same, groups=hidden, bias=bias
        )
        self.activate = nn.Sequential(nn.PReLU(), make_norm(norm, hidden))
        self.residual = nn.Conv1d(hidden, width, 1, bias=bias) if residual else None
        self.skip = nn.Conv1d(hidden, skip, 1, bias=bias) if skip else None

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        hidden = self.expand(features)
        if not self.pads_itself:
            hidden = F.pad(hidden, self.padding)
        hidden = self.activate(self.depthwise(hidden))
        skip = None if self.skip is None else self.skip(hidden)
        if self.residual is not None:
            features = features + self.residual(hidden)
        return features, skip


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
