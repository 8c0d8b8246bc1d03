"""The one STFT pair that every spectrogram model, oracle and loss uses."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def stft(waveform: Tensor, window: Tensor, hop: int, *, center: bool = True) -> Tensor:
    """Short-time Fourier transform of the last axis, always in float32 or float64.

    Half-precision input is raised to float32, because FFTs on a CPU refuse it and lose too much
    on a GPU. With ``center`` the signal is padded by n_fft / 2 on both sides, by reflection where
    it is long enough and by zeros where it is not, so that frame t is centred on sample t * hop.

    Shape:
        waveform (..., samples), window (n_fft,) -> complex (..., n_fft / 2 + 1, frames).
    """
    n_fft = window.shape[-1]
    samples = waveform.shape[-1]
    with torch.autocast(waveform.device.type, enabled=False):
        flat = waveform.reshape(-1, samples)
        flat = flat if flat.dtype == torch.float64 else flat.float()
        if center:
            # a last frame that fades out before the signal ends would make the inverse divide by
            # its window's tail, and a masked spectrum click there
            end = n_fft // 2 + (-samples % hop if 4 * hop > n_fft else 0)
            mode = "reflect" if samples > end else "constant"
            flat = F.pad(flat, (n_fft // 2, end), mode=mode)
        spectrum = torch.stft(
            flat, n_fft, hop, window=window.to(flat.dtype), center=False, return_complex=True
        )
    return spectrum.reshape(*waveform.shape[:-1], *spectrum.shape[-2:])


def istft(spectrum: Tensor, window: Tensor, hop: int, samples: int) -> Tensor:
    """Least-squares inverse of the centred `stft`: istft(stft(x), samples=len(x)) = x.

    Shape:
        spectrum complex (..., n_fft / 2 + 1, frames) -> (..., samples).
    """
    n_fft = window.shape[-1]
    with torch.autocast(spectrum.device.type, enabled=False):
        flat = spectrum.reshape(-1, *spectrum.shape[-2:])
        real = torch.float64 if flat.dtype == torch.complex128 else torch.float32
        covered = hop * (flat.shape[-1] - 1) + n_fft // 2  # where the frames end
        # one by one where nothing is trained: a song's frames are as large as its spectrum
        parts = flat.split(1) if len(flat) and not flat.requires_grad else (flat,)
        length = min(samples, covered)
        signals = [
            torch.istft(part, n_fft, hop, window=window.to(real), center=True, length=length)
            for part in parts
        ]
        signal = F.pad(torch.cat(signals), (0, samples - length))
    return signal.reshape(*spectrum.shape[:-2], samples)


class STFT(nn.Module):
    """An analysis and synthesis pair with a fixed window.

    Args:
        n_fft: Samples of a frame.
        hop: Samples between frames.
        window: "hann" (periodic), "sine" or "sqrt_hann".

    The window is a non-persistent buffer kept in float32 whatever precision the module is cast to.
    """

    window: Tensor

    def __init__(self, *, n_fft: int, hop: int, window: str = "hann") -> None:
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        self.register_buffer("window", make_window(window, n_fft), persistent=False)

    @property
    def freq(self) -> int:
        """Number of frequency bins."""
        return self.n_fft // 2 + 1

    def analyse(self, waveform: Tensor) -> Tensor:
        """(..., samples) -> complex (..., freq, frames)."""
        return stft(waveform, self.window, self.hop)

    def synthesise(self, spectrum: Tensor, samples: int) -> Tensor:
        """Complex (..., freq, frames) -> (..., samples)."""
        return istft(spectrum, self.window, self.hop, samples)


def make_window(name: str, n_fft: int) -> Tensor:
    """A periodic window by its name, float32 of shape (n_fft,)."""
    hann = torch.hann_window(n_fft, periodic=True)
    windows = {
        "hann": hann,
        "sqrt_hann": hann.sqrt(),
        "sine": torch.sin(torch.pi * torch.arange(n_fft) / n_fft),
    }
    if name not in windows:
        raise ValueError(f"unknown window {name!r}: expected one of {', '.join(windows)}")
    return windows[name]
