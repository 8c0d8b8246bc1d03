"""Complex spectral mapping with a convolutional recurrent network: Tan and Wang, ICASSP 2019, and
"Learning complex spectral mapping with gated convolutional recurrent networks", TASLP 2020, doi
10.1109/TASLP.2019.2955276.

The real and the imaginary part of a target are estimated as they are, without a mask. At the
published task (mono speech at 16 kHz, two groups) the gated network has 9,771,340 parameters, and
9,117,274 without gates.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from sepexp.dsp.stft import STFT
from sepexp.errors import UserError
from sepexp.nn.spectra_only import spectra_only
from sepexp.separation import Separation

CHECKED = "golden and per-block counts; one, two and four groups"


class CRN(nn.Module):
    """Encoder over frequency, grouped LSTM over frames, two decoders for every target.

    Args:
        sample_rate: Hz.
        n_fft, hop: Samples of a frame and between frames.
        widths: Feature maps after each level; each halves the bins, without padding.
        gated: Every convolution has a second one beside it whose sigmoid it is multiplied by.
        hidden: Features of the LSTM; where the encoder gives another number, linear layers stand
            on both sides.
        groups: LSTMs side by side, each on its share of the features; normalised if several.
        layers: Of grouped LSTMs; between them the groups' features are interleaved.
        bidirectional: False for the published causal network.
        compression: Exponent of the magnitudes at input and output, 1 for none. Music needs less
            than 1: its spectra span too many orders of magnitude.

    Shape:
        (batch, channels, samples) -> waveforms (batch, targets, channels, samples),
        spectra: complex (batch, targets, channels, freq, frames).
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
        widths: Sequence[int],
        gated: bool,
        hidden: int,
        groups: int,
        layers: int,
        bidirectional: bool,
        compression: float,
    ) -> None:
        super().__init__()
        self.sample_rate, self.channels, self.context = sample_rate, channels, 0
        self.targets, self.compression = targets, compression
        self.stft = STFT(n_fft=n_fft, hop=hop)
        bins = [self.stft.freq]
        for _ in widths:
            bins.append((bins[-1] - 3) // 2 + 1)
        if bins[-1] < 1:
            raise UserError(
                f"model.n_fft={n_fft} has too few bins for {len(widths)} levels: raise it, or "
                "shorten model.widths"
            )
        into = [2 * channels, *widths[:-1]]
        self.encoder = nn.ModuleList(
            nn.Sequential(Convolution(a, b, gated=gated), nn.BatchNorm2d(b), nn.ELU())
            for a, b in zip(into, widths, strict=True)
        )
        self.recurrent = GroupedLSTM(
            features=widths[-1] * bins[-1],
            hidden=hidden,
            groups=groups,
            layers=layers,
            bidirectional=bidirectional,
        )
        self.decoders = nn.ModuleList(
            Decoder(outputs=channels, widths=widths, bins=bins, gated=gated)
            for _ in range(2 * targets)
        )

    def analyse(self, waveforms: Tensor) -> Tensor:
        """Complex spectra: (..., samples) -> (..., freq, frames)."""
        return self.stft.analyse(waveforms)

    def forward(self, mixture: Tensor) -> Separation:
        spectrum = compress(self.analyse(mixture), self.compression)
        maps = rearrange(
            torch.view_as_real(spectrum),
            "batch channels freq frames part -> batch (part channels) frames freq",
        )
        skips = []
        for level in self.encoder:
            maps = level(maps)
            skips.append(maps)
        maps = self.recurrent(maps)
        # the encoder's last maps and the LSTM's go into the decoders as they are
        skips[:-1] = [F.elu(level) for level in skips[:-1]]
        parts = torch.stack([decoder(maps, skips) for decoder in self.decoders], dim=1).float()
        parts = rearrange(
            parts,
            "batch (targets part) channels frames freq -> batch targets channels freq frames part",
            targets=self.targets,
        )
        spectra = compress(torch.view_as_complex(parts.contiguous()), 1 / self.compression)
        if self.training and not self.waveforms_in_training:
            return spectra_only(spectra)
        return Separation(self.stft.synthesise(spectra, mixture.shape[-1]), spectra)


class Convolution(nn.Module):
    """Three bins wide with stride 2, down or (transposed) up: maps of (frames, freq)."""

    def __init__(
        self, inputs: int, outputs: int, *, gated: bool, up: bool = False, extra: int = 0
    ) -> None:
        super().__init__()
        both = 2 * outputs if gated else outputs
        self.gated = gated
        self.conv = (
            nn.ConvTranspose2d(inputs, both, (1, 3), stride=(1, 2), output_padding=(0, extra))
            if up
            else nn.Conv2d(inputs, both, (1, 3), stride=(1, 2))
        )

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.conv(maps)
        return F.glu(maps, dim=1) if self.gated else maps


class Decoder(nn.Module):
    """Back to all bins; the encoder's maps join at every level.

    Shape:
        maps (batch, features, frames, freq), the encoder's at each level, activated once more
        but for the deepest -> (batch, outputs, frames, freq).
    """

    def __init__(
        self, *, outputs: int, widths: Sequence[int], bins: Sequence[int], gated: bool
    ) -> None:
        super().__init__()
        into = [outputs, *widths[:-1]]
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(len(widths))):
            extra = bins[level] - (2 * bins[level + 1] + 1)  # what rounding down lost
            self.convs.append(
                Convolution(2 * widths[level], into[level], gated=gated, up=True, extra=extra)
            )
            self.norms.append(nn.BatchNorm2d(into[level]))
        self.linear = nn.Linear(bins[0], bins[0])

    def forward(self, maps: Tensor, skips: Sequence[Tensor]) -> Tensor:
        for conv, norm, skip in zip(self.convs, self.norms, reversed(skips), strict=True):
            maps = F.elu(norm(conv(torch.cat([maps, skip], dim=1))))
        return self.linear(maps)


class GroupedLSTM(nn.Module):
    """Layers of LSTMs side by side, each on its share of the features.

    Shape:
        maps (batch, width, frames, freq) with width x freq = features -> the same.
    """

    def __init__(
        self, *, features: int, hidden: int, groups: int, layers: int, bidirectional: bool
    ) -> None:
        super().__init__()
        if hidden % (2 * groups if bidirectional else groups):
            raise UserError(
                f"model.hidden={hidden} can't be shared by {groups} groups: choose a multiple"
            )
        self.groups = groups
        self.layers = nn.Sequential(
            *(LSTMGroup(hidden, groups, bidirectional) for _ in range(layers))
        )
        same = features == hidden
        self.narrow = nn.Identity() if same else nn.Linear(features, hidden)
        self.widen = nn.Identity() if same else nn.Linear(hidden, features)

    def forward(self, maps: Tensor) -> Tensor:
        width = maps.shape[1]
        features = rearrange(maps, "batch width frames freq -> batch frames (width freq)")
        features = self.narrow(features)
        for index, layer in enumerate(self.layers):
            if index > 0:  # every group reads from all groups of the layer before
                features = rearrange(
                    features,
                    "batch frames (groups units) -> batch frames (units groups)",
                    groups=self.groups,
                )
            features = layer(features)
        return rearrange(
            self.widen(features),
            "batch frames (width freq) -> batch width frames freq",
            width=width,
        )


class LSTMGroup(nn.Module):
    """LSTMs side by side, normalised together if there are several.

    Shape:
        (batch, frames, features) -> the same.
    """

    def __init__(self, features: int, groups: int, bidirectional: bool) -> None:
        super().__init__()
        share = features // groups
        units = share // 2 if bidirectional else share
        self.lstms = nn.ModuleList(
            nn.LSTM(share, units, batch_first=True, bidirectional=bidirectional)
            for _ in range(groups)
        )
        self.norm = nn.LayerNorm(features) if groups > 1 else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        shares = features.chunk(len(self.lstms), dim=-1)
        outputs = [lstm(share)[0] for lstm, share in zip(self.lstms, shares, strict=True)]
        return self.norm(torch.cat(outputs, dim=-1))


def compress(spectrum: Tensor, exponent: float) -> Tensor:
    """The magnitude to a power, the phase as it is."""
    if exponent == 1:
        return spectrum
    power = (spectrum.real.square() + spectrum.imag.square() + 1e-12) ** ((exponent - 1) / 2)
    return torch.view_as_complex(torch.view_as_real(spectrum) * power[..., None])
