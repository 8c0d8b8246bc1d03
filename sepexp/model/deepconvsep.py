"""DeepConvSep: Chandna, Miron, Janer, Gomez, "Monoaural audio source separation using deep
convolutional neural networks", LVA/ICA 2017, doi 10.1007/978-3-319-53547-0_25.

An autoencoder with a bottleneck for all targets and a dense layer for each, whose decoder is the
encoder transposed, with the same weights. 314,422 parameters at the paper's size with four
targets, the 0.32 M of the survey's tables; each convolution has two biases there, its own and
that of the layer behind it. The code that the authors published gives the fourth target the third
one's dense layer; here it has its own.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from sepexp.dsp.stft import STFT
from sepexp.nn.spectra_only import spectra_only
from sepexp.nn.wiener import Wiener
from sepexp.separation import Separation

CHECKED = "golden and per-block counts; tied decoder; masks sum to one"


class DeepConvSep(nn.Module):
    """Masks on patches of a few frames, averaged where patches overlap.

    Every channel passes through the same network by itself; the paper mixes down to one.

    Args:
        sample_rate: Hz.
        n_fft, hop: Samples of a frame and between frames.
        scale: Factor on the magnitudes, which are divided by sqrt(n_fft) first.
        frames: Of a patch.
        step: Frames between patches.
        spectral: Feature maps of the convolution over all bins.
        temporal: Feature maps of the convolution over frames.
        kernel: Frames of the convolution over frames.
        bottleneck: Features of a patch that all targets share.
        tied: The decoder is the encoder transposed; False: it has weights of its own.
        wiener: From magnitudes and the mixture's spectrum to complex spectra.

    Masks add up to one over targets.

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
        scale: float,
        frames: int,
        step: int,
        spectral: int,
        temporal: int,
        kernel: int,
        bottleneck: int,
        tied: bool,
        wiener: Wiener,
    ) -> None:
        super().__init__()
        self.sample_rate, self.channels, self.context = sample_rate, channels, 0
        self.stft = STFT(n_fft=n_fft, hop=hop)
        self.scale = scale / n_fft**0.5
        self.frames, self.step = frames, step
        self.network = PatchNetwork(
            targets=targets,
            freq=self.stft.freq,
            frames=frames,
            spectral=spectral,
            temporal=temporal,
            kernel=kernel,
            bottleneck=bottleneck,
            tied=tied,
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
        """(batch, channels, freq, time) -> (batch, targets, channels, freq, time)."""
        batch, channels, freq, time = magnitude.shape
        length = self.frames + max(0, -(-(time - self.frames) // self.step)) * self.step
        padded = F.pad(magnitude * self.scale, (0, length - time))
        patches = padded.unfold(-1, self.frames, self.step)
        patches = rearrange(
            patches, "batch channels freq patches time -> (batch channels patches) 1 time freq"
        )
        outputs = self.network(patches).float() + 1e-8  # equal shares where all are zero
        masks = outputs / outputs.sum(1, keepdim=True)
        masks = rearrange(
            masks,
            "(outer patches) targets time freq -> outer (targets freq time) patches",
            outer=batch * channels,
        )
        masks = self.add(masks, length) / self.add(
            torch.ones_like(masks[:1, : self.frames]), length
        )
        return rearrange(
            masks[..., :time],
            "(batch channels) (targets freq) time -> batch targets channels freq time",
            batch=batch,
            freq=freq,
        )

    def add(self, patches: Tensor, length: int) -> Tensor:
        """Overlapping patches (outer, features x frames, patches) -> (outer, features, length)."""
        return F.fold(patches, (1, length), (1, self.frames), stride=(1, self.step))[:, :, 0]


class PatchNetwork(nn.Module):
    """(batch, 1, time, freq) -> non-negative (batch, targets, time, freq)."""

    def __init__(
        self,
        *,
        targets: int,
        freq: int,
        frames: int,
        spectral: int,
        temporal: int,
        kernel: int,
        bottleneck: int,
        tied: bool,
    ) -> None:
        super().__init__()
        self.spectral = nn.Conv2d(1, spectral, (1, freq))
        self.temporal = nn.Conv2d(spectral, temporal, (kernel, 1))
        self.spectral_bias = nn.Parameter(torch.zeros(spectral, 1, 1))
        self.temporal_bias = nn.Parameter(torch.zeros(temporal, 1, 1))
        left = frames - kernel + 1
        self.bottleneck = nn.Linear(temporal * left, bottleneck)
        self.dense = nn.Linear(bottleneck, targets * temporal * left)  # one layer for each target
        self.unflatten = nn.Unflatten(1, (targets, temporal, left, 1))
        self.bias = nn.Parameter(torch.zeros(targets, 1, 1))
        self.own = None
        if not tied:
            self.own = nn.ModuleList(
                [
                    nn.ConvTranspose2d(temporal, spectral, (kernel, 1), bias=False),
                    nn.ConvTranspose2d(spectral, 1, (1, freq), bias=False),
                ]
            )

    def forward(self, patches: Tensor) -> Tensor:
        maps = self.spectral(patches) + self.spectral_bias
        maps = self.temporal(maps) + self.temporal_bias
        shared = torch.relu(self.bottleneck(maps.flatten(1)))
        maps = self.unflatten(torch.relu(self.dense(shared)))
        targets = maps.shape[1]
        maps = self.decode(maps.flatten(0, 1))
        return torch.relu(maps[:, 0].unflatten(0, (-1, targets)) + self.bias)

    def decode(self, maps: Tensor) -> Tensor:
        """(batch, temporal, left, 1) -> (batch, 1, time, freq)."""
        if self.own is not None:
            return self.own[1](self.own[0](maps))
        maps = F.conv_transpose2d(maps, self.temporal.weight)
        return F.conv_transpose2d(maps, self.spectral.weight)
