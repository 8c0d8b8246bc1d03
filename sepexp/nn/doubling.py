"""Twice the rate and back inside a network."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Doubling(nn.Module):
    """Windowed-sinc interpolation to twice the rate and back, in float32 under autocast.

    Zeros on each side: 24; cut-off: 0.945 of the lower Nyquist frequency; squared-cosine window;
    ends repeated. These are the reference's values (Smith, "Digital Audio Resampling").

    Shape:
        (batch, channels, samples) -> (batch, channels, 2 * samples).
    """

    up: Tensor
    down: Tensor

    ZEROS = 24
    ROLLOFF = 0.945

    def __init__(self) -> None:
        super().__init__()
        reach = math.ceil(self.ZEROS / self.ROLLOFF)
        phases = [self._kernel(torch.arange(-reach, reach + 1) - 0.5 * phase) for phase in (0, 1)]
        self.register_buffer("up", torch.stack(phases)[:, None], persistent=False)
        reach = math.ceil(2 * self.ZEROS / self.ROLLOFF)
        down = self._kernel(torch.arange(-reach, reach + 1) / 2)
        self.register_buffer("down", down[None, None], persistent=False)

    def _kernel(self, time: Tensor) -> Tensor:
        place = (time * self.ROLLOFF).clamp(-self.ZEROS, self.ZEROS) * math.pi
        kernel = torch.sinc(place / math.pi) * torch.cos(place / self.ZEROS / 2) ** 2
        return (kernel / kernel.sum()).float()

    def forward(self, waves: Tensor) -> Tensor:
        phases = self._convolve(waves, self.up, stride=1)  # (batch channels) 2 samples
        return phases.transpose(1, 2).reshape(*waves.shape[:-1], -1)

    def undo(self, waves: Tensor) -> Tensor:
        """Back to half the rate: (batch, channels, samples) -> (batch, channels, samples / 2)."""
        return self._convolve(waves, self.down, stride=2).reshape(*waves.shape[:-1], -1)

    @staticmethod
    def _convolve(waves: Tensor, kernel: Tensor, stride: int) -> Tensor:
        reach = kernel.shape[-1] // 2
        with torch.autocast(waves.device.type, enabled=False):
            kernel = kernel.to(torch.promote_types(waves.dtype, torch.float32))
            flat = waves.flatten(0, 1)[:, None].to(kernel.dtype)
            return F.conv1d(F.pad(flat, (reach, reach), mode="replicate"), kernel, stride=stride)
