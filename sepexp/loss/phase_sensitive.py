"""What a magnitude can do about the mixture's phase (Erdogan et al., ICASSP 2015; the truncated
form of Le Roux et al., arXiv 1810.01395)."""

from __future__ import annotations

from torch import Tensor, nn

from sepexp.errors import UserError
from sepexp.separation import Separation


class PhaseSensitive(nn.Module):
    """Mean absolute error against the target's part in phase with the mixture.

    The truth is |S| cos(angle between S and X), cut to 0 ... |X|: the best magnitude for the
    mixture's phase, not the target's own magnitude.

    Raises:
        UserError: The model doesn't hand out the mixture's spectrum with its estimates.
    """

    needs_spectra = True
    needs_waveforms = False

    def forward(self, estimate: Separation, truth: Separation, mixture: Tensor) -> Tensor:
        """(batch, targets)."""
        spectrum = (estimate.extras or {}).get("mixture")
        guess, true = estimate.spectra, truth.spectra
        if spectrum is None or guess is None or true is None or not true.is_complex():
            raise UserError(
                "the loss phase_sensitive needs a model that hands out the mixture's complex "
                "spectrum: choose model=real_mask, magbook or another complex head"
            )
        spectrum = spectrum[:, None]
        size = spectrum.abs()
        inner = true.real * spectrum.real + true.imag * spectrum.imag
        projected = (inner / size.clamp_min(1e-8)).clamp_min(0).minimum(size)
        magnitude = (guess.abs().square() + 1e-14).sqrt()
        return (magnitude - projected).abs().flatten(2).mean(-1)
