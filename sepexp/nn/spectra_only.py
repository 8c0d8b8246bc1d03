"""What a spectrogram model returns in training where no loss reads waveforms."""

from __future__ import annotations

from torch import Tensor

from sepexp.separation import Separation


def spectra_only(spectra: Tensor, extras: dict[str, Tensor] | None = None) -> Separation:
    """A separation with waveforms of no samples: the inverse transform is a third of a step.

    Shape:
        spectra (batch, targets, channels, freq, frames).
    """
    empty = spectra.real.new_empty(*spectra.shape[:3], 0)
    return Separation(empty, spectra, extras)
