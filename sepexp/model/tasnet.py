"""TasNet: an LSTM masks a learned, gated basis of short frames.

Luo and Mesgarani, "TasNet: Time-Domain Audio Separation Network for Real-Time, Single-Channel
Speech Separation", arXiv 1711.00541.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from sepexp.errors import UserError
from sepexp.nn.tasnet import ChannelNorm, make_mask
from sepexp.separation import Separation

CHECKED = "golden counts"


class TasNet(nn.Module):
    """Frames of unit norm, non-negative weights on a basis, masks from LSTMs, a linear synthesis.

    The paper separates mono speech at 8 kHz in frames that don't overlap; for music the basis
    reads all channels and the targets have a fixed order. Where `skip` is on, the outputs of
    every second LSTM layer are summed, the identity skips of the paper's four layers.

    Args:
        sample_rate: Hz. channels: of the audio. targets: number of estimates.
        bases: Basis functions (N). kernel: samples of a frame (L). stride: between frames.
        layers: LSTM layers. hidden: units of each, in each direction.
        bidirectional: Both directions, not causal.
        gated: Multiply the weights by a sigmoid of a second basis.
        frame_norm: Divide frames by their L2 norm and multiply it back at the end.
        skip: Sum the outputs of every second layer.
        mask: "softmax" over the targets, "sigmoid" or "relu".

    Shape:
        mixture (batch, channels, samples) -> waveforms (batch, targets, channels, samples).
    """

    def __init__(
        self,
        *,
        sample_rate: int,
        channels: int,
        targets: int,
        bases: int,
        kernel: int,
        stride: int,
        layers: int,
        hidden: int,
        bidirectional: bool,
        gated: bool,
        frame_norm: bool,
        skip: bool,
        mask: str,
    ) -> None:
        super().__init__()
        if not 0 < stride <= kernel:
            raise UserError(f"stride is {stride}: expected 1 to kernel ({kernel})")
        if skip and layers % 2:
            raise UserError(f"layers is {layers}: skips go around pairs, so take an even number")
        make_mask(torch.zeros(1, 1, 1, 1), mask)  # an unknown name fails here, not in training
        self.sample_rate, self.channels, self.context = sample_rate, channels, 0
        self.targets, self.kernel, self.stride = targets, kernel, stride
        self.frame_norm, self.skip, self.mask = frame_norm, skip, mask
        self.encoder = nn.Conv1d(channels, bases, kernel, stride, bias=False)
        self.gate = nn.Conv1d(channels, bases, kernel, stride, bias=False) if gated else None
        self.norm = ChannelNorm(bases)
        width = hidden * (2 if bidirectional else 1)
        depth = 2 if skip else layers
        self.lstms = nn.ModuleList(
            nn.LSTM(
                width if index else bases,
                hidden,
                depth,
                batch_first=True,
                bidirectional=bidirectional,
            )
            for index in range(layers // depth)
        )
        self.head = nn.Linear(width, targets * bases)
        self.decoder = nn.ConvTranspose1d(bases, channels, kernel, stride, bias=False)

    def upsampled_rates(self) -> list[float]:
        """Hz of the frames that the decoder makes samples of."""
        return [self.sample_rate / self.stride]

    def forward(self, mixture: Tensor) -> Separation:
        samples = mixture.shape[-1]
        hops = max(0, -(-(samples - self.kernel) // self.stride))
        padded = F.pad(mixture, (0, hops * self.stride + self.kernel - samples))
        weights, norm = self._encode(padded)
        masked = self._masks(self.norm(weights)) * (weights * norm)[:, None]
        waveforms = self.decoder(
            rearrange(masked, "batch targets bases frames -> (batch targets) bases frames")
        )
        waveforms = waveforms[..., :samples]
        return Separation(waveforms.unflatten(0, (-1, self.targets)))

    def _encode(self, waves: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (batch, bases, frames) and norms (batch, 1, frames)."""
        norm = waves.new_ones(())
        if self.frame_norm:
            power = waves.float().square().sum(dim=1, keepdim=True)
            norm = (F.avg_pool1d(power, self.kernel, self.stride) * self.kernel + 1e-8).sqrt()
        weights = (self.encoder(waves) / norm).relu()
        if self.gate is not None:
            weights = weights * (self.gate(waves) / norm).sigmoid()
        return weights, norm

    def _masks(self, features: Tensor) -> Tensor:
        hidden, total, device = features.transpose(1, 2), None, features.device.type
        if torch.is_autocast_enabled(device):  # LSTMs on CPUs don't cast what comes by themselves
            hidden = hidden.to(torch.get_autocast_dtype(device))
        for lstm in self.lstms:
            hidden, _ = lstm(hidden)
            total = hidden if total is None else total + hidden
        scores = rearrange(
            self.head(total),
            "batch frames (targets bases) -> batch targets bases frames",
            targets=self.targets,
        )
        return make_mask(scores, self.mask)
