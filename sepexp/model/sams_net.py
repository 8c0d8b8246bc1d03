"""Sams-Net: Li, Chen, Hou, Li, "Sams-Net: a sliced attention-based neural network for music source
separation", arXiv 1909.05746.

A reconstruction: the idea (attention between frames, one head on each slice of the feature maps)
is the paper's, the layers are not, because no public table of them was found. They are sized to
the published budget: four networks of 935,410 parameters against 3.70 M printed.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from sepexp.dsp.stft import STFT
from sepexp.nn.bin_statistics import bin_statistics
from sepexp.nn.per_target import PerTarget
from sepexp.nn.spectra_only import spectra_only
from sepexp.nn.wiener import Wiener
from sepexp.separation import Separation

CHECKED = "a reconstruction: no public layer table"


class SamsNet(nn.Module):
    """Masks by one network of sliced attention per target, on standardised log magnitudes.

    Args:
        sample_rate: Hz.
        n_fft, hop: Samples of a frame and between frames; half of n_fft must divide by 4.
        width: Feature maps.
        slices: Of the feature maps, an attention head on each.
        blocks: Number of attention blocks.
        bounded: Masks between 0 and 1; False: any non-negative mask.
        wiener: From magnitudes and the mixture's spectrum to complex spectra.

    Attention costs the square of the number of frames, so songs are separated in chunks.

    Shape:
        (batch, channels, samples) -> waveforms (batch, targets, channels, samples),
        spectra: magnitudes (batch, targets, channels, freq, frames).
    """

    mean: Tensor
    deviation: Tensor

    waveforms_in_training = True  # False where no loss reads them

    def __init__(
        self,
        *,
        sample_rate: int,
        channels: int,
        targets: int,
        n_fft: int,
        hop: int,
        width: int,
        slices: int,
        blocks: int,
        bounded: bool,
        wiener: Wiener,
    ) -> None:
        super().__init__()
        self.sample_rate, self.channels, self.context = sample_rate, channels, 0
        self.bounded = bounded
        self.stft = STFT(n_fft=n_fft, hop=hop)
        network = partial(
            SlicedAttentionNetwork, channels=channels, width=width, slices=slices, blocks=blocks
        )
        self.network = PerTarget(network, targets=targets)
        self.wiener = wiener
        self.register_buffer("mean", torch.zeros(self.stft.freq, 1))
        self.register_buffer("deviation", torch.ones(self.stft.freq, 1))

    def analyse(self, waveforms: Tensor) -> Tensor:
        """Magnitudes: (..., samples) -> (..., freq, frames)."""
        return self.stft.analyse(waveforms).abs()

    @torch.no_grad()
    def prepare(self, tracks: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Take the log magnitudes' mean and deviation for each bin from the training songs."""
        device = self.mean.device
        mean, deviation = bin_statistics(
            tracks, lambda mixture: self.analyse(mixture.to(device)).log1p()
        )
        self.mean.copy_(mean[:, None])
        self.deviation.copy_(deviation[:, None])

    def forward(self, mixture: Tensor) -> Separation:
        spectrum = self.stft.analyse(mixture)
        magnitude = spectrum.abs()
        features = (magnitude.log1p() - self.mean) / self.deviation
        # the bin at half the sample rate is dropped, so that sizes divide, and copies its neighbour
        masks = self.network(features[:, :, :-1]).float()
        masks = torch.cat([masks, masks[..., -1:, :]], dim=-2)
        masks = masks.sigmoid() if self.bounded else masks.relu()
        magnitudes = masks * magnitude[:, None]
        if self.training and not self.waveforms_in_training:
            return spectra_only(magnitudes)
        waveforms = self.stft.synthesise(self.wiener(magnitudes, spectrum), mixture.shape[-1])
        return Separation(waveforms, magnitudes)


class SlicedAttentionNetwork(nn.Module):
    """Features (batch, channels, freq, frames) -> one target's mask before its activation."""

    def __init__(self, *, channels: int, width: int, slices: int, blocks: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, (8, 3), stride=(4, 1), padding=(2, 1)),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        self.blocks = nn.Sequential(*(SlicedAttention(width, slices) for _ in range(blocks)))
        self.head = nn.Sequential(
            nn.ConvTranspose2d(width, width // 4, (8, 3), stride=(4, 1), padding=(2, 1)),
            nn.ReLU(),
            nn.Conv2d(width // 4, channels, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(features)))


class SlicedAttention(nn.Module):
    """Attention between frames on each slice of the maps, then two convolutions.

    Nothing tells the order of frames but the convolutions.

    Shape:
        (batch, width, freq, frames) -> the same.
    """

    def __init__(self, width: int, slices: int) -> None:
        super().__init__()
        self.slices = slices
        self.query, self.key, self.value, self.output = (
            nn.Conv2d(width, width, 1) for _ in range(4)
        )
        self.attention_norm = nn.BatchNorm2d(width)
        self.convs = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
        )
        self.conv_norm = nn.BatchNorm2d(width)

    def forward(self, maps: Tensor) -> Tensor:
        freq = maps.shape[2]
        query, key, value = (
            rearrange(
                layer(maps),
                "batch (slices width) freq frames -> batch slices frames (width freq)",
                slices=self.slices,
            )
            for layer in (self.query, self.key, self.value)
        )
        heads = F.scaled_dot_product_attention(query, key, value)
        heads = rearrange(
            heads, "batch slices frames (width freq) -> batch (slices width) freq frames", freq=freq
        )
        maps = self.attention_norm(maps + self.output(heads))
        return self.conv_norm(maps + self.convs(maps))
