"""Multi-resolution convolutional auto-encoder: every layer has filters of very different lengths.

Grais, Ward and Plumbley, "Raw Multi-Channel Audio Source Separation using Multi-Resolution
Convolutional Auto-Encoders", arXiv 1803.00702.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from sepexp.errors import UserError
from sepexp.separation import Separation

CHECKED = "closed-form counts; filter counts are a choice, the paper gives none"


class MRCAE(nn.Module):
    """An auto-encoder on frames of 1025 raw samples, overlapped under a Hann window.

    The paper gives the frame, the filter lengths, batch norm for each set and ELU; its number of
    filters, its layers' number and the overlap are our choice: 10 filters a set, two convolution
    layers, two transposed ones and a linear output layer, a quarter of the frame as hop. Transposed
    convolutions of stride 1 are convolutions with turned filters, so all layers are one class.
    One network estimates all targets; the paper trains one for each.

    Args:
        sample_rate: Hz. channels: of the audio. targets: number of estimates.
        frame: Samples of a frame. hop: samples between frames.
        kernels: Filter lengths of the parallel sets. filters: of each set.
        layers: Hidden layers.
        output_kernel: Taps of the output layer.
        output_gain: Times its initial weights, our choice: its thousands of taps read normalised
            features, so the small variant would start five times louder than music and spend its
            first hundreds of steps on silence.

    Shape:
        mixture (batch, channels, samples) -> waveforms (batch, targets, channels, samples).
    """

    window: Tensor

    def __init__(
        self,
        *,
        sample_rate: int,
        channels: int,
        targets: int,
        frame: int,
        hop: int,
        kernels: Sequence[int],
        filters: int,
        layers: int,
        output_kernel: int,
        output_gain: float,
    ) -> None:
        super().__init__()
        if not 0 < hop <= frame // 2:
            raise UserError(f"hop is {hop}: expected at most half of the frame ({frame})")
        self.sample_rate, self.channels, self.context = sample_rate, channels, 0
        self.targets, self.frame, self.hop = targets, frame, hop
        width = filters * len(kernels)
        hidden: list[nn.Module] = []
        for index in range(layers):
            inputs = width if index else channels
            hidden += [
                FilterSets(inputs, filters, kernels, frame),
                nn.BatchNorm1d(width),  # channel by channel, so one norm serves all sets
                nn.ELU(),
            ]
        output = FilterSets(
            width if layers else channels, targets * channels, [output_kernel], frame
        )
        with torch.no_grad():
            for parameter in output.parameters():
                parameter *= output_gain
        self.network = nn.Sequential(*hidden, output)
        window = torch.hann_window(frame + 2, periodic=False)[1:-1]  # every sample counts
        self.register_buffer("window", window, persistent=False)

    def forward(self, mixture: Tensor) -> Separation:
        batch, _, samples = mixture.shape
        edge = self.frame - self.hop  # every sample lies in as many frames as the others
        hops = -(-(samples + edge) // self.hop)
        padded = F.pad(mixture, (edge, hops * self.hop + self.frame - samples - edge))
        frames = padded.unfold(-1, self.frame, self.hop)
        estimates = self.network(
            rearrange(frames, "batch channels frames samples -> (batch frames) channels samples")
        )
        estimates = rearrange(
            estimates.float() * self.window,
            "(batch frames) outputs samples -> (batch outputs) samples frames",
            batch=batch,
        )
        weights = self.window[None, :, None].expand(1, -1, hops + 1)
        waveforms = self._overlap_add(estimates) / self._overlap_add(weights)
        waveforms = rearrange(
            waveforms[:, edge : edge + samples],
            "(batch targets channels) samples -> batch targets channels samples",
            batch=batch,
            targets=self.targets,
        )
        return Separation(waveforms)

    def _overlap_add(self, frames: Tensor) -> Tensor:
        """(items, samples of a frame, frames) -> (items, samples)."""
        length = (frames.shape[-1] - 1) * self.hop + self.frame
        return F.fold(frames, (1, length), (1, self.frame), stride=(1, self.hop))[:, 0, 0]


class FilterSets(nn.Module):
    """Parallel convolutions of several lengths, concatenated; computed as one product of spectra.

    A thousand taps on a thousand samples cost a hundred times more directly. The ends are padded
    by zeros, on the right one more where a length is even. Products stay in float32 under
    autocast, which CPU FFTs need anyway.

    Shape:
        (batch, inputs, samples) -> (batch, filters * len(kernels), samples).
    """

    def __init__(self, inputs: int, filters: int, kernels: Sequence[int], samples: int) -> None:
        super().__init__()
        self.samples = samples
        self.sets = nn.ModuleList(nn.Conv1d(inputs, filters, kernel) for kernel in kernels)
        # Wrapped-around samples may fall where nobody looks: half of the longest filter is enough.
        self.length = fast_length(samples + max(kernels) // 2)

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            signal = torch.fft.rfft(features.float(), self.length)
            filters = torch.fft.rfft(self._taps(), self.length)
            product = torch.einsum("bif,oif->bof", signal, filters.conj())
            output = torch.fft.irfft(product, self.length)[..., : self.samples]
            bias = torch.cat([conv.bias for conv in self.sets])
            return output + bias[:, None]

    def _taps(self) -> Tensor:
        """All filters (outputs, inputs, length), their centres at sample 0, pasts at the end."""
        taps = []
        for conv in self.sets:
            before = (conv.kernel_size[0] - 1) // 2
            padded = F.pad(conv.weight, (0, self.length - conv.kernel_size[0]))
            taps.append(padded.roll(-before, dims=-1))
        return torch.cat(taps)


def fast_length(length: int) -> int:
    """The next number with no prime factor above 5, which FFTs like."""
    while True:
        rest = length
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 1
