"""What a separator estimates and what is true, in one shape."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Separation(NamedTuple):
    """Estimates of a model, or the truth in the same form, so that losses compare like with like.

    Shape:
        waveforms: (batch, targets, channels, samples).
        spectra: (batch, targets, channels, freq, frames), complex or non-negative magnitudes,
            whichever the model estimates; None from waveform models.
        extras: named tensors that only some losses read (stages, latents, codebook logits).
    """

    waveforms: Tensor
    spectra: Tensor | None = None
    extras: dict[str, Tensor] | None = None
