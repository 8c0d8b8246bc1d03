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


class Wavenet(nn.Module):
    """Stacks of gated dilated convolutions whose skips, summed, two wide convolutions read.

    The published network works at 16 kHz mono, trains on target fields of 1601 samples, of which
    4092 more are read on each side, predicts vocals, drums and bass, and takes what is left as
    "other". The field is as long as the segment that comes: longer ones cost less a sample.

    Blocks pad nothing: a field is estimated from real context alone. The two final convolutions
    read `target_padding` samples beyond the field and zeros beyond those, as published with 1;
    with 2 nothing depends on where a segment was cut.

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
        self.reach = stacks * sum(dilations) * (kernel - 1) // 2 + (kernel - 1) // 2
        # the published field is read with zeros beyond the first convolution and the padding
        self.context = stacks * sum(dilations) * (kernel - 1) // 2
        self.first = nn.Conv1d(channels, width, kernel, padding=kernel // 2, bias=False)
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
