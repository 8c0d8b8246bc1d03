"""Spectrogram U-Nets: Jansson et al., "Singing voice separation with deep U-Net convolutional
networks", ISMIR 2017, and Oh, Kim, Yun, "Spectrogram-channels U-Net", arXiv 1810.11520.

The first estimates a sigmoid mask with one network per target; the second has the magnitudes of
all sources as the output channels of one network and balances their volumes in the loss. Its
paper prints 9.84 M parameters without a layer table; the first one's network with four outputs
has 9,825,716, and that is what stands here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from sepexp.dsp.stft import STFT
from sepexp.nn.per_target import PerTarget
from sepexp.nn.spectra_only import spectra_only
from sepexp.nn.u_net import UNet
from sepexp.nn.wiener import Wiener
from sepexp.separation import Separation

CHECKED = "golden and per-block counts"


class SpectrogramUNet(nn.Module):
    """Masks or magnitudes from a U-Net on the mixture's magnitude, scaled to a maximum of one.

    Args:
        sample_rate: Hz. At the published 8192 Hz nothing above 4096 Hz is estimated.
        n_fft, hop: Samples of a frame and between frames.
        widths: Feature maps of each level.
        kernel: Size of every convolution.
        dropout: Probability in the first three decoder levels.
        mask: True: sigmoid masks on the mixture; False: magnitudes themselves.
        shared: One network with an output for each target; False: one network per target.
        wiener: From magnitudes and the mixture's spectrum to complex spectra.

    Magnitudes are the output's positive part, whose gradient passes below zero too, a tenth of it.
    That is our choice: under the absolute error, whose best constant is the zero that most bins are
    near, a plain ReLU fell silent at learning rates of 5e-4 and 2e-3 and had no gradient left.

    The bin at half the sample rate is dropped, so that sizes halve, and takes its neighbour's
    value at the output.

    Shape:
        (batch, channels, samples) -> waveforms (batch, targets, channels, samples),
        spectra: magnitudes (batch, targets, channels, freq, frames),
        extras: `volume` (batch, targets), the training songs' mean magnitude of each target.
    """

    volume: Tensor

    waveforms_in_training = True  # False where no loss reads them

    def __init__(
        self,
        *,
        sample_rate: int,
        channels: int,
        targets: int,
        n_fft: int,
        hop: int,
        widths: Sequence[int],
        kernel: int,
        dropout: float,
        mask: bool,
        shared: bool,
        wiener: Wiener,
    ) -> None:
        super().__init__()
        self.sample_rate, self.channels, self.context = sample_rate, channels, 0
        self.targets, self.mask = targets, mask
        self.stft = STFT(n_fft=n_fft, hop=hop)
        network = partial(UNet, inputs=channels, widths=widths, kernel=kernel, dropout=dropout)
        self.network: nn.Module
        if shared:
            self.network = nn.Sequential(
                network(outputs=targets * channels), nn.Unflatten(1, (targets, channels))
            )
        else:
            self.network = PerTarget(partial(network, outputs=channels), targets=targets)
        self.wiener = wiener
        self.register_buffer("volume", torch.ones(targets))

    def analyse(self, waveforms: Tensor) -> Tensor:
        """Magnitudes: (..., samples) -> (..., freq, frames)."""
        return self.stft.analyse(waveforms).abs()

    @torch.no_grad()
    def prepare(self, tracks: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Measure every target's mean magnitude over the training songs."""
        device = self.stft.window.device
        total, frames = torch.zeros(self.targets, dtype=torch.float64), 0
        for _, targets in tracks:
            for index, target in enumerate(targets):
                magnitude = self.analyse(target.to(device))
                total[index] += magnitude.double().mean((0, 1)).sum().cpu()
            frames += magnitude.shape[-1]
        self.volume.copy_(total / frames)

    def forward(self, mixture: Tensor) -> Separation:
        batch = mixture.shape[0]
        spectrum = self.stft.analyse(mixture)
        magnitudes = self.magnitudes(spectrum.abs())
        extras = {"volume": self.volume.expand(batch, -1)}
        if self.training and not self.waveforms_in_training:
            return spectra_only(magnitudes, extras)
        waveforms = self.stft.synthesise(self.wiener(magnitudes, spectrum), mixture.shape[-1])
        return Separation(waveforms, magnitudes, extras)

    def magnitudes(self, mixture: Tensor) -> Tensor:
        """Mixture's magnitude (batch, channels, freq, frames) -> (batch, targets, ...)."""
        peak = mixture.amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-8)
        estimate = self.network((mixture / peak)[:, :, :-1]).float()
        estimate = estimate.sigmoid() if self.mask else living_relu(estimate)
        estimate = torch.cat([estimate, estimate[..., -1:, :]], dim=-2)
        return estimate * (mixture if self.mask else peak)[:, None]


def living_relu(values: Tensor) -> Tensor:
    """The positive part, with a tenth of the gradient where a ReLU has none; any shape."""
    return torch.where(values > 0, values, 0.1 * (values - values.detach()))
