"""Layers for several targets side by side whose weights are generated from embeddings."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Generator(NamedTuple):
    """How weights come about: of `targets` at once, from `embedding` numbers by way of `rank`.

    Without an embedding (0) every target's weights are ordinary parameters.
    """

    targets: int
    embedding: int
    rank: int


class GeneratedWeights(nn.Module):
    """Two linear maps from a target's embedding to so many weights, or the weights themselves.

    Args:
        centre: Of the weights at the start, the same for all targets. deviation: around it.

    Shape:
        embedding (targets, embedding) or None -> (targets, weights).
    """

    def __init__(self, make: Generator, centre: Tensor, deviation: float) -> None:
        super().__init__()
        weights = len(centre)
        if not make.embedding:
            start = centre + deviation * torch.randn(make.targets, weights)
            self.weights = nn.Parameter(start)
            return
        self.squeeze = nn.Linear(make.embedding, make.rank)
        self.expand = nn.Linear(make.rank, weights)
        with torch.no_grad():
            # standard normal embeddings leave the first map with a variance of about 3/8
            share = deviation / 2**0.5
            self.expand.weight.normal_(std=share / (make.rank * 3 / 8) ** 0.5)
            self.expand.bias.copy_(centre + share * torch.randn(weights))

    def forward(self, embedding: Tensor | None) -> Tensor:
        return self.weights if embedding is None else self.expand(self.squeeze(embedding))


class GeneratedConv(nn.Module):
    """A convolution without bias, one kernel for each target, all in one grouped call.

    Shape:
        (batch, targets * inputs, frames) -> (batch, targets * outputs, frames).
    """

    def __init__(
        self,
        make: Generator,
        inputs: int,
        outputs: int,
        *,
        kernel: int = 1,
        dilation: int = 1,
        depthwise: bool = False,
    ) -> None:
        super().__init__()
        self.outputs, self.kernel, self.dilation = outputs, kernel, dilation
        self.fan_in = 1 if depthwise else inputs
        self.depthwise = depthwise
        deviation = (3 * self.fan_in * kernel) ** -0.5  # that of torch's own convolutions
        self.weights = GeneratedWeights(
            make, torch.zeros(outputs * self.fan_in * kernel), deviation
        )

    def forward(self, features: Tensor, embedding: Tensor | None) -> Tensor:
        weights = self.weights(embedding)
        targets = len(weights)
        kernels = weights.view(targets * self.outputs, self.fan_in, self.kernel)
        groups = targets * (self.outputs if self.depthwise else 1)
        padding = self.dilation * (self.kernel // 2)
        return F.conv1d(features, kernels, padding=padding, dilation=self.dilation, groups=groups)


class GeneratedNorm(nn.Module):
    """Group norm with gains and biases of each target's own.

    Shape:
        (batch, targets * channels, frames) -> the same.
    """

    def __init__(self, make: Generator, channels: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        centre = torch.cat([torch.ones(channels), torch.zeros(channels)])
        self.weights = GeneratedWeights(make, centre, 0.1 if make.embedding else 0.0)

    def forward(self, features: Tensor, embedding: Tensor | None) -> Tensor:
        weights = self.weights(embedding)
        gain, bias = (part.flatten() for part in weights.chunk(2, dim=1))
        return F.group_norm(features, self.groups * len(weights), gain, bias, eps=1e-8)
