"""A small mask network for a first run on a CPU; sepexp's own, from no paper.

A dilated convolutional network looks at the log-magnitudes of left, right, mid and side in
overlapping bands and gives one softmax mask a target, interpolated back to the bins. The pieces
are old: bands and side signals of classical stereo separation, dilated convolutions as in
Conv-TasNet (arXiv 1809.07454), masks that sum to one as in the DRNN of Huang et al. (2015).
Convolutions share weights over bands and frames, so it learns from minutes of music in minutes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sepexp.dsp.stft import STFT
from sepexp.separation import Separation

CHECKED = "its own tests: masks sum to one, so estimates sum to the mixture"


class BandMask(nn.Module):
    """Softmax masks from dilated convolutions over bands and frames.

    Args:
        sample_rate: Hz.
        channels: 1 or 2; with 2 the network also sees mid and side.
        targets: Number of estimates; they sum to the mixture.
        n_fft: Samples of a frame.
        hop: Samples between frames.
        bands: Overlapping triangular bands, spaced between linear and logarithmic.
        width: Channels of the network.
        dilations: Pairs (over bands, over frames), one for each 3 x 3 convolution.

    Shape:
        mixture (batch, channels, samples) -> waveforms (batch, targets, channels, samples),
        spectra: magnitudes (batch, targets, channels, freq, frames).

    A loss that reads spectra only makes the trainer set `waveforms_in_training` to False: then
    waveforms are empty while training, which saves a third of a step's time on a CPU.
    """

    waveforms_in_training = True

    down: Tensor
    up: Tensor
    place: Tensor

    def __init__(
        self,
        *,
        sample_rate: int,
        channels: int,
        targets: int,
        n_fft: int,
        hop: int,
        bands: int,
        width: int,
        dilations: Sequence[Sequence[int]],
    ) -> None:
        super().__init__()
        self.sample_rate, self.channels, self.context = sample_rate, channels, 0
        self.targets = targets
        self.stft = STFT(n_fft=n_fft, hop=hop)
        triangles = band_triangles(self.stft.freq, bands, sample_rate)
        down = triangles / triangles.sum(1, keepdim=True).clamp_min(1e-6)
        self.register_buffer("down", down, persistent=False)
        self.register_buffer("up", triangles.T.contiguous(), persistent=False)
        place = torch.linspace(-1, 1, bands)
        self.register_buffer("place", torch.stack([place, place**2]), persistent=False)
        views = 4 if channels == 2 else channels
        layers: list[nn.Module] = []
        inputs, kernel, spans = views + 2, 5, [(1, 1), *dilations]
        for over_bands, over_frames in spans:
            reach = (kernel // 2 * over_bands, kernel // 2 * over_frames)
            layers += [
                nn.Conv2d(
                    inputs, width, kernel, padding=reach, dilation=(over_bands, over_frames),
                    bias=False,
                ),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]  # fmt: skip
            inputs, kernel = width, 3
        self.network = nn.Sequential(*layers, nn.Conv2d(width, targets * channels, 1))

    def analyse(self, waveforms: Tensor) -> Tensor:
        """Magnitudes: (..., samples) -> (..., freq, frames)."""
        return self.stft.analyse(waveforms).abs()

    def forward(self, mixture: Tensor) -> Separation:
        spectrum = self.stft.analyse(mixture)
        masks = self.masks(spectrum)
        magnitudes = masks * spectrum.abs()[:, None]
        if self.training and not self.waveforms_in_training:
            return Separation(magnitudes.new_empty(*masks.shape[:3], 0), magnitudes)
        estimate = self.stft.synthesise(masks * spectrum[:, None], mixture.shape[-1])
        return Separation(estimate, magnitudes)

    def masks(self, spectrum: Tensor) -> Tensor:
        """(batch, channels, freq, frames) -> (batch, targets, channels, freq, frames)."""
        views = spectrum
        if self.channels == 2:
            left, right = spectrum[:, :1], spectrum[:, 1:]
            views = torch.cat([spectrum, left + right, left - right], dim=1)
        # the square of |x| has a gradient at silence, where |x| has none
        power = views.real**2 + views.imag**2
        banded = torch.log1p(100 * (self.down @ power) / self.stft.n_fft)
        batch, _, bands, frames = banded.shape
        place = self.place[None, :, :, None].expand(batch, 2, bands, frames)
        scores = self.network(torch.cat([banded, place], dim=1))
        scores = scores.unflatten(1, (self.targets, self.channels)).float()
        return self.up @ torch.softmax(scores, dim=1)


def band_triangles(freq: int, bands: int, sample_rate: int) -> Tensor:
    """Triangular bands that sum to one in every bin.

    Shape: (bands, freq).
    """
    hertz = torch.linspace(0, sample_rate / 2, freq)
    low = 30.0
    warped = (hertz.clamp_min(low) / low).log() / math.log(sample_rate / 2 / low)
    position = (0.9 * warped + 0.1 * torch.linspace(0, 1, freq)) * (bands - 1)
    return (1 - (position - torch.arange(bands)[:, None]).abs()).clamp_min(0)
