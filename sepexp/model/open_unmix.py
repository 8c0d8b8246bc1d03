"""Open-Unmix: Stoter, Uhlich, Liutkus, Mitsufuji, JOSS 2019, doi 10.21105/joss.01667.

A BLSTM on magnitudes for every target, followed by one multichannel Wiener filter. With `bridge`
it becomes X-UMX (Sawata et al., arXiv 2010.04631): the targets' networks share the averages of
their features, which adds no parameter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from einops import rearrange
from torch import Tensor, nn

from sepexp.dsp.stft import STFT
from sepexp.nn.bin_statistics import bin_statistics
from sepexp.nn.spectra_only import spectra_only
from sepexp.nn.wiener import Wiener
from sepexp.separation import Separation

CHECKED = "golden counts; same weights, same output as openunmix; Wiener filter against norbert"


class OpenUnmix(nn.Module):
    """Magnitudes by one BLSTM network per target, waveforms by the Wiener filter.

    The published size has 8,893,348 parameters for each target: the 8.90 M of the survey's tables.

    Args:
        sample_rate: Hz.
        n_fft, hop: Samples of a frame and between frames.
        bandwidth: Hz; bins above it are not read, but estimated nevertheless.
        hidden: Features of a frame; a BLSTM has half of them in each direction.
        layers: Of the LSTM.
        bidirectional: False for a causal LSTM.
        dropout: Between LSTM layers.
        bridge: Average the features of all targets before and after the LSTMs (X-UMX).
        wiener: From magnitudes and the mixture's spectrum to complex spectra.

    Shape:
        (batch, channels, samples) -> waveforms (batch, targets, channels, samples),
        spectra: magnitudes before the Wiener filter (batch, targets, channels, freq, frames).
    """

    branches: Sequence[Branch]

    waveforms_in_training = True  # False where no loss reads them

    def __init__(
        self,
        *,
        sample_rate: int,
        channels: int,
        targets: int,
        n_fft: int,
        hop: int,
        bandwidth: float,
        hidden: int,
        layers: int,
        bidirectional: bool,
        dropout: float,
        bridge: bool,
        wiener: Wiener,
    ) -> None:
        super().__init__()
        self.sample_rate, self.channels, self.context = sample_rate, channels, 0
        self.stft = STFT(n_fft=n_fft, hop=hop)
        self.bridge = bridge
        self.wiener = wiener
        self.freq_in = min(self.stft.freq, int(bandwidth * n_fft / sample_rate) + 1)
        branches = [
            Branch(
                channels=channels,
                freq_in=self.freq_in,
                freq=self.stft.freq,
                hidden=hidden,
                layers=layers,
                bidirectional=bidirectional,
                dropout=dropout,
            )
            for _ in range(targets)
        ]
        self.branches = cast("Sequence[Branch]", nn.ModuleList(branches))

    def analyse(self, waveforms: Tensor) -> Tensor:
        """Magnitudes: (..., samples) -> (..., freq, frames)."""
        return self.stft.analyse(waveforms).abs()

    @torch.no_grad()
    def prepare(self, tracks: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Take the input's mean and scale for each bin from the training songs."""
        device = self.stft.window.device
        mean, deviation = bin_statistics(tracks, lambda mixture: self.analyse(mixture.to(device)))
        for branch in self.branches:
            branch.input_shift.copy_(-mean[: self.freq_in])
            branch.input_scale.copy_(1 / deviation[: self.freq_in])

    def forward(self, mixture: Tensor) -> Separation:
        spectrum = self.stft.analyse(mixture)
        magnitudes = self.magnitudes(spectrum.abs())
        if self.training and not self.waveforms_in_training:
            return spectra_only(magnitudes)
        spectra = self.wiener(magnitudes, spectrum)
        return Separation(self.stft.synthesise(spectra, mixture.shape[-1]), magnitudes)

    def magnitudes(self, magnitude: Tensor) -> Tensor:
        """Of the targets: (batch, channels, freq, frames) -> (batch, targets, ...)."""
        frames = rearrange(
            magnitude[:, :, : self.freq_in],
            "batch channels freq frames -> frames batch channels freq",
        )
        features = self.share([branch.squeeze(frames) for branch in self.branches])
        recurrent = self.share(
            [branch.lstm(own)[0] for branch, own in zip(self.branches, features, strict=True)]
        )
        estimates = []  # target by target: a song's masks are large, so none outlives its use
        for branch, own, memory in zip(self.branches, features, recurrent, strict=True):
            mask = branch.expand(torch.cat([own, memory], -1))
            mask = rearrange(mask, "frames batch channels freq -> batch channels frames freq")
            estimates.append(mask * magnitude.mT)
        return torch.stack(estimates, 1).mT

    def share(self, features: list[Tensor]) -> list[Tensor]:
        """Every target's own features, or the average for all with `bridge`."""
        if not self.bridge:
            return features
        return [torch.stack(features).mean(0)] * len(features)


class Branch(nn.Module):
    """The network of one target, in the three steps between which X-UMX averages."""

    def __init__(
        self,
        *,
        channels: int,
        freq_in: int,
        freq: int,
        hidden: int,
        layers: int,
        bidirectional: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.input_shift = nn.Parameter(torch.zeros(freq_in))
        self.input_scale = nn.Parameter(torch.ones(freq_in))
        self.encoder = nn.Sequential(
            nn.Linear(channels * freq_in, hidden, bias=False), nn.BatchNorm1d(hidden), nn.Tanh()
        )
        self.lstm = nn.LSTM(
            hidden,
            hidden // 2 if bidirectional else hidden,
            num_layers=layers,
            bidirectional=bidirectional,
            dropout=dropout if layers > 1 else 0.0,
        )
        self.decoder = nn.Sequential(
            nn.Linear(2 * hidden, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, channels * freq, bias=False),
            nn.BatchNorm1d(channels * freq),
        )
        self.output_scale = nn.Parameter(torch.ones(freq))
        self.output_shift = nn.Parameter(torch.ones(freq))

    def squeeze(self, magnitude: Tensor) -> Tensor:
        """(frames, batch, channels, freq) -> (frames, batch, hidden)."""
        frames = magnitude.shape[0]
        standard = (magnitude + self.input_shift) * self.input_scale
        return self.encoder(standard.flatten(0, 1).flatten(1)).unflatten(0, (frames, -1))

    def expand(self, features: Tensor) -> Tensor:
        """(frames, batch, 2 hidden) -> mask (frames, batch, channels, freq)."""
        frames = features.shape[0]
        decoded = self.decoder(features.flatten(0, 1)).unflatten(1, (self.channels, -1))
        mask = torch.addcmul(self.output_shift, decoded, self.output_scale).relu_()
        return mask.unflatten(0, (frames, -1))
