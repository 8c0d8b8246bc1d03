"""A real transform that still determines the signal.

After Liu et al., "Supervised speech enhancement with real spectrum approximation", ICASSP 2019.
A frame followed by as many zeros is causal, so the even part of it, whose transform is the real
part of the frame's, has all of its samples. The phase is in the signs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sepexp.dsp.stft import make_window


class RealSpectrum(nn.Module):
    """Real parts of twice zero-padded frames, and back.

    Args:
        n_fft: Samples of a frame before padding.
        hop: Samples between frames.
        window: As for the STFT.

    synthesise(analyse(x), len(x)) = x.
    """

    window: Tensor

    def __init__(self, *, n_fft: int, hop: int, window: str = "hann") -> None:
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        self.register_buffer("window", make_window(window, n_fft), persistent=False)

    @property
    def freq(self) -> int:
        """Number of frequency bins."""
        return self.n_fft + 1

    def analyse(self, waveform: Tensor) -> Tensor:
        """(..., samples) -> real (..., freq, frames), in float32 or float64."""
        samples, side = waveform.shape[-1], self.n_fft // 2
        with torch.autocast(waveform.device.type, enabled=False):
            flat = waveform.reshape(-1, samples)
            flat = flat if flat.dtype == torch.float64 else flat.float()
            # as in the STFT, no last frame fades out before the signal ends
            end = side + (-samples % self.hop if 4 * self.hop > self.n_fft else 0)
            padded = F.pad(flat, (side, end), mode="reflect" if samples > end else "constant")
            frames = padded.unfold(-1, self.n_fft, self.hop) * self.window.to(flat.dtype)
            spectrum = torch.fft.rfft(frames, n=2 * self.n_fft).real.mT
        return spectrum.reshape(*waveform.shape[:-1], *spectrum.shape[-2:])

    def synthesise(self, spectrum: Tensor, samples: int) -> Tensor:
        """Real (..., freq, frames) -> (..., samples)."""
        with torch.autocast(spectrum.device.type, enabled=False):
            flat = spectrum.reshape(-1, *spectrum.shape[-2:]).mT
            window = self.window.to(flat.dtype)
            even = torch.fft.irfft(torch.complex(flat, torch.zeros_like(flat)), n=2 * self.n_fft)
            # the frame is zero at negative times, so its even part is half of it except at 0
            frames = torch.cat([even[..., :1], 2 * even[..., 1 : self.n_fft]], dim=-1)
            signal = self.add((frames * window).mT)
            energy = self.add(window.square()[:, None].expand(1, -1, flat.shape[1]))
            signal = (signal / energy.clamp_min(1e-11))[:, self.n_fft // 2 :]
            signal = F.pad(signal, (0, max(0, samples - signal.shape[-1])))[:, :samples]
        return signal.reshape(*spectrum.shape[:-2], samples)

    def add(self, frames: Tensor) -> Tensor:
        """Overlap-add (items, n_fft, frames) -> (items, samples)."""
        length = self.n_fft + self.hop * (frames.shape[-1] - 1)
        return F.fold(frames, (1, length), (1, self.n_fft), stride=(1, self.hop))[:, 0, 0]
