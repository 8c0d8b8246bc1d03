"""Where an estimate goes wrong: leaks between sources, residue in pauses, masked signals."""

from __future__ import annotations

import torch
from torch import Tensor

from sepexp.errors import UserError
from sepexp.metric.frames import frame_bounds

FLOOR = 1e-12  # -120 dB: keeps the levels of digital silence finite


def leak_matrix(references: Tensor, estimates: Tensor, n_fft: int = 2048) -> Tensor:
    """How much of each reference sits in each estimate, in dB relative to that reference.

    In every STFT bin each estimate is explained by a complex gain for each reference, all fitted
    together over time and channels; the energy of a reference's part over the energy of that
    reference is its leak. The diagonal is near 0 dB, a source that is absent goes to -120 dB.
    A silent reference gives NaN.

    Shape: (targets, channels, samples) twice -> (targets, targets), rows are estimates.
    """
    _check(references, estimates)
    truth, guess = (_spectra(signals, n_fft) for signals in (references, estimates))
    # per frequency, frames and channels are the equations: (freq, sources, equations)
    basis, wanted = (_equations(spectra) for spectra in (truth, guess))
    gram = basis @ basis.mH
    gains = (wanted @ basis.mH) @ torch.linalg.pinv(gram, hermitian=True)
    energy = gram.diagonal(dim1=-2, dim2=-1).real
    passed = (gains.abs().square() * energy[:, None]).sum(dim=0)
    total = energy.sum(dim=0)
    return torch.where(total > 0, 10 * torch.log10(passed / total + FLOOR), torch.nan)


def silent_residual(
    references: Tensor,
    estimates: Tensor,
    window: float,
    hop: float,
    threshold: float = -60.0,
) -> Tensor:
    """RMS level of each estimate in dB of full scale, over the frames where its reference pauses.

    A frame is a pause when the reference's RMS is under the threshold in dB of full scale. NaN for
    a target that never pauses; -120 dB for silence. Lower is better.

    Shape: (targets, channels, samples) twice, window and hop in samples -> (targets,).
    """
    _check(references, estimates)
    bounds = frame_bounds(references.shape[-1], window, hop)
    powers = [
        torch.stack([signals[..., a:b].double().square().mean(dim=(1, 2)) for a, b in bounds], -1)
        for signals in (references, estimates)
    ]
    pauses = powers[0] < 10 ** (threshold / 10)
    mean = (powers[1] * pauses).sum(dim=-1) / pauses.sum(dim=-1)
    return 10 * torch.log10(mean + FLOOR)


def masked_sdr(
    references: Tensor,
    estimates: Tensor,
    mixture: Tensor,
    margin: float = 20.0,
    n_fft: int = 2048,
) -> Tensor:
    """SDR over the STFT bins where the source lies `margin` dB or more under the mixture.

    Tells whether a model reconstructs what the mixture masks: 0 dB is the score of silence there.
    NaN when the source is never masked; bins where the source is exactly zero do not count.

    Shape: references, estimates (targets, channels, samples), mixture (channels, samples) ->
        (targets,), in dB.
    """
    _check(references, estimates)
    if mixture.shape != references.shape[1:]:
        raise UserError(
            f"mixture has shape {tuple(mixture.shape)}, expected {tuple(references.shape[1:])}."
        )
    limit = _spectra(mixture, n_fft).abs().square() * 10 ** (-margin / 10)
    values = []
    for reference, estimate in zip(references, estimates, strict=True):
        truth, guess = (_spectra(signal, n_fft) for signal in (reference, estimate))
        power = truth.abs().square()
        masked = (power <= limit) & (power > 0)
        error = (guess - truth).abs().square()
        values.append(10 * torch.log10(power[masked].sum() / error[masked].sum()))
    return torch.stack(values)


def _check(references: Tensor, estimates: Tensor) -> None:
    if references.shape != estimates.shape or references.ndim != 3:
        raise UserError(
            f"references have shape {tuple(references.shape)}, estimates {tuple(estimates.shape)}:"
            " expected the same (targets, channels, samples)."
        )


def _spectra(signals: Tensor, n_fft: int) -> Tensor:
    """(..., channels, samples) -> (..., channels, freq, frames)."""
    window = torch.hann_window(n_fft, dtype=signals.dtype, device=signals.device)
    flat = signals.reshape(-1, signals.shape[-1])
    spectra = torch.stft(
        flat, n_fft, n_fft // 2, window=window, pad_mode="constant", return_complex=True
    )
    return spectra.reshape(*signals.shape[:-1], *spectra.shape[-2:])


def _equations(spectra: Tensor) -> Tensor:
    sources, channels, freq, frames = spectra.shape
    return spectra.permute(2, 0, 1, 3).reshape(freq, sources, channels * frames)
