"""The strided convolutional U-Net of spectrogram models."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class UNet(nn.Module):
    """Halve both axes at every level, then double them again, with the encoder's maps beside.

    Layers after Jansson et al. (ISMIR 2017): convolutions with stride 2, batch normalisation and
    LeakyReLU down, transposed ones with ReLU up, dropout in the first three of these, and a last
    layer without normalisation or activation.

    Args:
        inputs: Feature maps at the input.
        outputs: Feature maps at the output.
        widths: Feature maps after each level of the encoder.
        kernel: Odd size of every convolution, on both axes.
        dropout: Probability in the first three decoder levels.

    Shape:
        (batch, inputs, freq, frames) -> (batch, outputs, freq, frames), any sizes: zeros are
        added up to the next multiple of 2 ** len(widths) and trimmed again.
    """

    def __init__(
        self, *, inputs: int, outputs: int, widths: Sequence[int], kernel: int, dropout: float
    ) -> None:
        super().__init__()
        into = [inputs, *widths[:-1]]
        self.encoder = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(a, b, kernel, stride=2, padding=kernel // 2),
                nn.BatchNorm2d(b),
                nn.LeakyReLU(0.2),
            )
            for a, b in zip(into, widths, strict=True)
        )
        levels = list(reversed(range(len(widths))))
        self.decoder = nn.ModuleList()
        for level in levels:
            wide = widths[level] if level == levels[0] else 2 * widths[level]
            narrow = into[level] if level > 0 else outputs
            up = nn.ConvTranspose2d(
                wide, narrow, kernel, stride=2, padding=kernel // 2, output_padding=1
            )
            if level == 0:
                self.decoder.append(up)
                continue
            block = [up, nn.BatchNorm2d(narrow), nn.ReLU()]
            if levels[0] - level < 3:
                block.append(nn.Dropout(dropout))
            self.decoder.append(nn.Sequential(*block))

    def forward(self, maps: Tensor) -> Tensor:
        freq, frames = maps.shape[-2:]
        unit = 2 ** len(self.encoder)
        maps = F.pad(maps, (0, -frames % unit, 0, -freq % unit))
        skips = []
        for down in self.encoder:
            maps = down(maps)
            skips.append(maps)
        maps = self.decoder[0](skips.pop())
        for up in self.decoder[1:]:
            maps = up(torch.cat([maps, skips.pop()], dim=1))
        return maps[..., :freq, :frames]
