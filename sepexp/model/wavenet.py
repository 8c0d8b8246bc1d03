"""Regression Wavenet for music: deterministic, non-causal, a whole field of samples at once.

Lluís, Pons and Serra, "End-to-end music source separation: is it possible in the waveform
domain?", arXiv 1810.12187.
"""

from __future__ import annotations

from collections.abc import Sequence

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from sepexp.errors import UserError
from sepexp.nn.residual import insert_residual
from sepexp.separation import Separation

CHECKED = "golden counts, published lengths (9785 -> 1601)"


class Wavenet(nn.Module):
    """Stacks of gated dilated convolutions whose skips, summed, two wide convolutions read.

    The published network works at 16 kHz mono, trains on target fields of 1601 samples, of which
    4092 more are read on each side, predicts vocals, drums and bass, and takes what is left as
    "other". The field is as long as the segment that comes: longer ones cost less a sample.

    Nothing is padded but the ends of what comes. The two final convolutions look at
    `target_padding` samples beyond the field and at zeros beyond those. With the published 1 that
    isn't all they can reach, and `context` is the published 4092, which leaves the outermost
    samples a few zeros to read; from 2 on `context` covers everything that the field depends on,
    and estimates are the same wherever a segment was cut. Glorot-uniform weights and a zero bias
    are the defaults of the framework that the authors used.

    Args:
        sample_rate: Hz. channels: of the audio. targets: number of estimates.
        stacks: Repeats of the dilations. dilations: of a stack's blocks, in samples.
        kernel: Taps of the dilated convolutions, odd.
        width: Channels of the residual path. skip: channels of the skip path.
        final_widths: Channels of the two last hidden convolutions.
        final_kernels: Taps of them, odd.
        target_padding: Samples beyond the field that the final convolutions see, each side.
        residual: Index of the target that is the mixture minus the others, null for none.

    Shape:
        mixture (batch, channels, samples + 2 * context) ->
        waveforms (batch, targets, channels, samples).
    """

    def __init__(
        self,
        *,
        sample_rate: int,
        channels: int,
        targets: int,
        stacks: int,
        dilations: Sequence[int],
        kernel: int,
        width: int,
        skip: int,
        final_widths: Sequence[int],
        final_kernels: Sequence[int],
        target_padding: int,
        residual: int | None,
    ) -> None:
        super().__init__()
        for taps in (kernel, *final_kernels):
            if taps % 2 == 0:
                raise UserError(f"a kernel is {taps}: expected odd numbers")
        self.sample_rate, self.channels = sample_rate, channels
        self.residual, self.target_padding = residual, target_padding
        final_reach = sum(taps // 2 for taps in final_kernels)
        reach = stacks * sum(dilations) * (kernel // 2)
        beyond = kernel // 2 + target_padding  # of the first convolution and the final ones
        self.context = reach + (beyond if target_padding >= final_reach else 0)
        self.padding = reach + beyond - self.context
        self.first = nn.Conv1d(channels, width, kernel, bias=False)
        self.blocks = nn.ModuleList(
            Block(width, skip, kernel, dilation) for _ in range(stacks) for dilation in dilations
        )
        wide, narrow = final_widths
        first, second = final_kernels
        predicted = targets - (residual is not None)
        self.final = nn.Sequential(
            nn.ReLU(),
            nn.Conv1d(skip, wide, first, padding=first // 2, bias=False),
            nn.ReLU(),
            nn.Conv1d(wide, narrow, second, padding=second // 2, bias=False),
            nn.Conv1d(narrow, predicted * channels, 1),
        )
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def receptive_field(self) -> int:
        """Samples that the blocks see around one sample, as the paper counts them."""
        return 2 * sum(block.reach for block in self.blocks) + 1

    def forward(self, mixture: Tensor) -> Separation:
        samples = mixture.shape[-1] - 2 * self.context
        if samples < 1:
            raise UserError(
                f"{mixture.shape[-1]} samples came, of which {2 * self.context} are context: "
                "read longer segments"
            )
        features = self.first(F.pad(mixture, (self.padding, self.padding)))
        field = samples + 2 * self.target_padding
        total = None
        for index, block in enumerate(self.blocks):
            last = index == len(self.blocks) - 1
            features, skip = block(features, field, last=last)
            total = skip if total is None else total + skip
        predicted = self.final(total)[..., self.target_padding : self.target_padding + samples]
        waveforms = rearrange(
            predicted,
            "batch (targets channels) samples -> batch targets channels samples",
            channels=self.channels,
        )
        if self.residual is not None:
            centre = mixture[..., self.context : self.context + samples]
            waveforms = insert_residual(waveforms, centre, self.residual)
        return Separation(waveforms)


class Block(nn.Module):
    """Gated dilated convolution; a 1x1 convolution to a residual and, at the centre, a skip.

    Shape:
        (batch, width, frames) -> (batch, width, frames - 2 * reach), (batch, skip, field).
    """

    def __init__(self, width: int, skip: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.width, self.reach = width, dilation * (kernel // 2)
        self.dilated = nn.Conv1d(width, 2 * width, kernel, dilation=dilation, bias=False)
        self.mix = nn.Conv1d(width, width + skip, 1, bias=False)

    def forward(self, features: Tensor, field: int, *, last: bool) -> tuple[Tensor, Tensor]:
        signal, gate = self.dilated(features).chunk(2, dim=1)
        gated = signal.tanh() * gate.sigmoid()
        # only the field's skip is ever summed, and nothing reads the last block's residual
        edge = (gated.shape[-1] - field) // 2
        skip = F.conv1d(gated[..., edge : edge + field], self.mix.weight[self.width :])
        if not last:
            inner = features[..., self.reach : features.shape[-1] - self.reach]
            features = inner + F.conv1d(gated, self.mix.weight[: self.width])
        return features, skip
