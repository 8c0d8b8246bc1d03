"""MMDenseNet (Takahashi, Mitsufuji, arXiv 1706.09588) and MMDenseLSTM (Takahashi, Goswami,
Mitsufuji, arXiv 1805.02410).

A small dense U-Net for every frequency band and one for all bins, fused by a last dense block; one
network per target. The papers print 0.33 M (MMDenseNet) and 1.22 M (MMDenseLSTM) parameters for a
target. These have 339,468 and 1,370,784: batch normalisation stands on each layer's newest
features only, and the width of the layer after the LSTM, which the second paper leaves open, is
the number of bins here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from sepexp.dsp.stft import STFT
from sepexp.errors import UserError
from sepexp.nn.bin_statistics import bin_statistics
from sepexp.nn.per_target import PerTarget
from sepexp.nn.spectra_only import spectra_only
from sepexp.nn.wiener import Wiener
from sepexp.separation import Separation

CHECKED = "golden and per-block counts, at all three places of the LSTM"

PLACES = ("after", "before", "parallel")


class MMDense(nn.Module):
    """Magnitudes by one multi-band dense network per target, waveforms by the Wiener filter.

    Args:
        sample_rate: Hz.
        n_fft, hop: Samples of a frame and between frames.
        bands: For each band from low to high: `bins` (None for the last: all that are left),
            `stem` feature maps, and for each block down, in the middle and up the `growth`,
            number of `layers` and `lstm` units in each direction (0: none); `kernel` on
            (freq, frames).
        full: The same for the network over all bins, without `bins`.
        final: `growth`, `layers`, `kernel` and `dilated` of the last dense block.
        lstm_place: Of the LSTM beside a dense block: "after" it, "before" it or "parallel".
        last_only: A dense block gives its last layer's features; False: those of all layers.
        wiener: From magnitudes and the mixture's spectrum to complex spectra.

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
        bands: Mapping[str, Mapping[str, Any]],
        full: Mapping[str, Any],
        final: Mapping[str, Any],
        lstm_place: str,
        last_only: bool,
        wiener: Wiener,
    ) -> None:
        super().__init__()
        self.sample_rate, self.channels, self.context = sample_rate, channels, 0
        self.stft = STFT(n_fft=n_fft, hop=hop)
        self.wiener = wiener
        self.network = PerTarget(
            lambda: MultiBandNetwork(
                channels=channels,
                freq=self.stft.freq,
                bands=bands,
                full=full,
                final=final,
                lstm_place=lstm_place,
                last_only=last_only,
            ),
            targets=targets,
        )

    def analyse(self, waveforms: Tensor) -> Tensor:
        """Magnitudes: (..., samples) -> (..., freq, frames)."""
        return self.stft.analyse(waveforms).abs()

    @torch.no_grad()
    def prepare(self, tracks: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Start the input's and output's affine maps at the training songs' statistics."""
        device = self.stft.window.device
        mean, deviation = bin_statistics(tracks, lambda mixture: self.analyse(mixture.to(device)))
        for network in cast("Iterable[MultiBandNetwork]", self.network.networks):
            network.shift_in.copy_(mean[:, None])
            network.scale_in.copy_(deviation[:, None])
            network.scale_out.copy_(deviation[:, None])

    def forward(self, mixture: Tensor) -> Separation:
        spectrum = self.stft.analyse(mixture)
        magnitudes = self.network(spectrum.abs()).float()
        if self.training and not self.waveforms_in_training:
            return spectra_only(magnitudes)
        waveforms = self.stft.synthesise(self.wiener(magnitudes, spectrum), mixture.shape[-1])
        return Separation(waveforms, magnitudes)


class MultiBandNetwork(nn.Module):
    """Mixture magnitude -> one target's magnitude, (batch, channels, freq, frames) both."""

    def __init__(
        self,
        *,
        channels: int,
        freq: int,
        bands: Mapping[str, Mapping[str, Any]],
        full: Mapping[str, Any],
        final: Mapping[str, Any],
        lstm_place: str,
        last_only: bool,
    ) -> None:
        super().__init__()
        self.bins = band_bins([band["bins"] for band in bands.values()], freq)
        network = partial(DenseUNet, channels=channels, lstm_place=lstm_place, last_only=last_only)
        sizes = [{key: band[key] for key in band if key != "bins"} for band in bands.values()]
        nets = [network(freq=n, **size) for n, size in zip(self.bins, sizes, strict=True)]
        self.bands = nn.ModuleList(nets)
        self.full = network(freq=freq, **full)
        # bands lie side by side in frequency, so all of them get as many maps as the widest
        width = max(net.outputs for net in nets)
        self.match = nn.ModuleList(
            nn.Identity()
            if net.outputs == width
            else nn.Sequential(nn.BatchNorm2d(net.outputs), nn.Conv2d(net.outputs, width, 1))
            for net in nets
        )
        self.final = DenseBlock(
            width + self.full.outputs,
            growth=final["growth"],
            layers=final["layers"],
            kernel=final["kernel"],
            dilated=final["dilated"],
            last_only=last_only,
        )
        self.norm = nn.BatchNorm2d(self.final.outputs)
        self.gate = nn.Conv2d(self.final.outputs, 2 * channels, 1)
        self.shift_in = nn.Parameter(torch.zeros(freq, 1))
        self.scale_in = nn.Parameter(torch.ones(freq, 1))
        self.shift_out = nn.Parameter(torch.zeros(freq, 1))
        self.scale_out = nn.Parameter(torch.ones(freq, 1))

    def forward(self, magnitude: Tensor) -> Tensor:
        maps = (magnitude - self.shift_in) / (self.scale_in.abs() + 1e-12)
        parts = [
            match(band(part))
            for match, band, part in zip(
                self.match, self.bands, maps.split(self.bins, dim=2), strict=True
            )
        ]
        maps = torch.cat([torch.cat(parts, dim=2), self.full(maps)], dim=1)
        maps = F.glu(self.gate(self.norm(self.final(maps))), dim=1)
        return torch.relu(maps * self.scale_out + self.shift_out)


class DenseUNet(nn.Module):
    """A dense block at every scale, down by averages and up by transposed convolutions.

    Shape:
        (batch, channels, freq, frames) -> (batch, outputs, freq, frames).
    """

    def __init__(
        self,
        *,
        channels: int,
        freq: int,
        stem: int,
        growth: Sequence[int],
        layers: Sequence[int],
        lstm: Sequence[int],
        kernel: Sequence[int],
        lstm_place: str,
        last_only: bool,
    ) -> None:
        super().__init__()
        if not len(growth) == len(layers) == len(lstm) or len(growth) % 2 == 0:
            raise UserError(
                f"a dense network got {len(growth)} growths, {len(layers)} numbers of layers and "
                f"{len(lstm)} LSTM sizes: expected the same odd number of each"
            )
        depth = len(growth) // 2
        bins = [freq]
        for _ in range(depth):
            bins.append(-(-bins[-1] // 2))

        def block(inputs: int, place: int, level: int) -> RecurrentDenseBlock:
            return RecurrentDenseBlock(
                inputs,
                freq=bins[level],
                growth=growth[place],
                layers=layers[place],
                lstm=lstm[place],
                kernel=kernel,
                place=lstm_place,
                last_only=last_only,
            )

        self.stem = SameConv(channels, stem, kernel)
        self.down, self.up_norm, self.up_conv, self.up = (nn.ModuleList() for _ in range(4))
        width, skips = stem, []
        for level in range(depth):
            down = block(width, level, level)
            self.down.append(down)
            width = down.outputs
            skips.append(width)
        self.middle = block(width, depth, depth)
        width = self.middle.outputs
        for level in reversed(range(depth)):
            self.up_norm.append(nn.BatchNorm2d(width))
            self.up_conv.append(nn.ConvTranspose2d(width, width, 2, stride=2))
            up = block(width + skips[level], 2 * depth - level, level)
            self.up.append(up)
            width = up.outputs
        self.outputs = width

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.stem(maps)
        skips = []
        for down in self.down:
            skips.append(down(maps))
            maps = F.avg_pool2d(skips[-1], 2, ceil_mode=True, count_include_pad=False)
        maps = self.middle(maps)
        for norm, conv, up in zip(self.up_norm, self.up_conv, self.up, strict=True):
            skip = skips.pop()
            maps = conv(norm(maps))[..., : skip.shape[-2], : skip.shape[-1]]
            maps = up(torch.cat([maps, skip], dim=1))
        return maps


class SameConv(nn.Conv2d):
    """A convolution that keeps sizes; an even kernel reaches one further behind than before."""

    def __init__(
        self, inputs: int, outputs: int, kernel: Sequence[int], *, dilation: int = 1
    ) -> None:
        reach = [dilation * (size - 1) for size in kernel]
        super().__init__(
            inputs,
            outputs,
            (kernel[0], kernel[1]),
            padding=(reach[0] // 2, reach[1] // 2),
            dilation=dilation,
        )
        self.behind = (0, reach[1] % 2, 0, reach[0] % 2)

    def forward(self, maps: Tensor) -> Tensor:
        if not any(self.behind):
            return super().forward(maps)
        return super().forward(F.pad(maps, self.behind))


class DenseBlock(nn.Module):
    """Every layer reads the input and all earlier layers' features.

    A convolution of concatenated maps is the sum of convolutions of each, so a layer's newest
    maps are convolved once for all later layers; normalisation stands on the newest maps.

    Shape:
        (batch, inputs, freq, frames) -> (batch, growth, freq, frames), or layers x growth maps
        without `last_only`.
    """

    def __init__(
        self,
        inputs: int,
        *,
        growth: int,
        layers: int,
        kernel: Sequence[int],
        dilated: bool = False,
        last_only: bool,
    ) -> None:
        super().__init__()
        self.growth, self.last_only = growth, last_only
        self.outputs = growth if last_only else growth * layers
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(inputs if index == 0 else growth),
                nn.ReLU(),
                SameConv(
                    inputs if index == 0 else growth,
                    growth * (layers - index),
                    kernel,
                    dilation=2**index if dilated else 1,
                ),
            )
            for index in range(layers)
        )

    def forward(self, maps: Tensor) -> Tensor:
        given, rest = [maps], torch.zeros((), device=maps.device)
        for layer in self.layers:
            rest = rest + layer(given[-1])
            given.append(rest[:, : self.growth])
            rest = rest[:, self.growth :]
        return given[-1] if self.last_only else torch.cat(given[1:], dim=1)


class RecurrentDenseBlock(nn.Module):
    """A dense block with a BLSTM over frames beside it, which adds one map; either may be absent.

    Shape:
        (batch, inputs, freq, frames) -> (batch, outputs, freq, frames).
    """

    def __init__(
        self,
        inputs: int,
        *,
        freq: int,
        growth: int,
        layers: int,
        lstm: int,
        kernel: Sequence[int],
        place: str,
        last_only: bool,
    ) -> None:
        super().__init__()
        if place not in PLACES:
            raise UserError(f"lstm_place is {place}: expected one of {', '.join(PLACES)}")
        self.place = place
        self.dense: DenseBlock | None = None
        self.lstm: RecurrentMap | None = None
        width = inputs  # that the LSTM reads
        self.outputs = 0 if lstm else inputs
        if layers:
            before = inputs + 1 if lstm and place == "before" else inputs
            self.dense = DenseBlock(
                before, growth=growth, layers=layers, kernel=kernel, last_only=last_only
            )
            self.outputs = self.dense.outputs
            width = self.outputs if place == "after" else inputs
        if lstm:
            self.lstm = RecurrentMap(width, freq, lstm)
            self.outputs += 0 if place == "before" and layers else 1

    def forward(self, maps: Tensor) -> Tensor:
        if self.dense is None:
            return maps if self.lstm is None else self.lstm(maps)
        if self.lstm is None:
            return self.dense(maps)
        if self.place == "before":
            return self.dense(torch.cat([maps, self.lstm(maps)], dim=1))
        dense = self.dense(maps)
        recurrent = self.lstm(dense if self.place == "after" else maps)
        return torch.cat([dense, recurrent], dim=1)


class RecurrentMap(nn.Module):
    """All maps -> one map -> BLSTM over frames -> one map: (batch, 1, freq, frames)."""

    def __init__(self, inputs: int, freq: int, units: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(inputs, 1, 1)
        self.lstm = nn.LSTM(freq, units, batch_first=True, bidirectional=True)
        self.project = nn.Linear(2 * units, freq)

    def forward(self, maps: Tensor) -> Tensor:
        frames = rearrange(self.mix(maps), "batch 1 freq frames -> batch frames freq")
        frames = self.project(self.lstm(frames)[0])
        return rearrange(frames, "batch frames freq -> batch 1 freq frames")


def band_bins(bins: Sequence[int | None], freq: int) -> list[int]:
    """Bins of each band; None takes what the others leave.

    Raises:
        UserError: They don't add up to the spectrum's.
    """
    known = sum(count for count in bins if count is not None)
    full = [freq - known if count is None else count for count in bins]
    if sum(full) != freq or min(full) < 1:
        raise UserError(
            f"bands of {', '.join(map(str, full))} bins don't fill the spectrum's {freq}: "
            "set model.bands so that they do, the last one's bins=null for all that are left"
        )
    return full
