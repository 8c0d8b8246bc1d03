"""Multichannel Wiener filter with expectation maximisation for any set of magnitude estimates.

Every source is a local Gaussian: a power spectral density for each bin and frame times a spatial
covariance for each bin (Duong et al., doi 10.1109/TASL.2010.2050716). The covariance is the plain
weighted average of the estimates' outer products (Nugraha et al., doi 10.1109/TASLP.2016.2580946),
which is not the exact M-step but more robust on music; Open-Unmix and norbert use it too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

BINS = 128  # frequencies that a CPU works on at a time: they stay in its cache


def wiener(
    magnitudes: Tensor,
    mixture: Tensor,
    *,
    iterations: int,
    softmask: bool = False,
    residual: bool = False,
    window: int | None = 300,
    eps: float = 1e-10,
) -> Tensor:
    """Complex spectra of the targets from their magnitudes and the mixture's spectrum.

    Args:
        magnitudes: Non-negative estimates.
        mixture: Complex spectrum of the mixture.
        iterations: Of expectation maximisation; 0 returns the first estimate.
        softmask: Start from ratio masks on the mixture, not from the magnitudes with its phase.
        residual: Let a further source, the mixture minus all targets, take part; it comes last.
        window: Frames that share one spatial model, so that it can drift; None: all.
        eps: Energy below which a source counts as absent.

    With iterations the estimates are computed in float64 (the determinant of a nearly singular
    covariance is a difference of nearly equal numbers), and each window of each item by itself.

    Shape:
        magnitudes (batch, targets, channels, freq, frames), mixture (batch, channels, freq, frames)
        -> complex (batch, targets, channels, freq, frames), one target more with `residual`.
    """
    if iterations == 0:
        return first_estimate(magnitudes, mixture, softmask=softmask, residual=residual, eps=eps)
    # frequencies last, as the STFT leaves them in memory
    magnitudes, mixture = magnitudes.mT, mixture.mT
    batch, channels, frames, freq = mixture.shape
    window = window or frames
    spectra = mixture.new_empty(batch, magnitudes.shape[1] + residual, channels, frames, freq)
    block = BINS if mixture.device.type == "cpu" else freq
    double = mixture.device.type != "mps"  # which has no float64
    with torch.autocast(mixture.device.type, enabled=False):
        for start in range(0, frames, window):
            rows = slice(start, start + window)
            # eps is absolute, so the loudest bin is brought down to at most 10
            loudest = mixture[:, :, rows].abs().amax(dim=(1, 2, 3), keepdim=True)
            scale = (loudest / 10).clamp_min(1.0)
            scale = scale.double() if double else scale
            for low in range(0, freq, block):
                bins = slice(low, low + block)
                mix, guess = mixture[..., rows, bins], magnitudes[..., rows, bins]
                if double:
                    mix, guess = mix.to(torch.complex128), guess.double()
                estimate = first_estimate(guess, mix, softmask=softmask, residual=residual, eps=eps)
                estimate = expectation_maximisation(
                    estimate / scale[:, None], mix / scale, iterations=iterations, eps=eps
                )
                spectra[..., rows, bins] = estimate * scale[:, None]
    return spectra.mT


def first_estimate(
    magnitudes: Tensor, mixture: Tensor, *, softmask: bool, residual: bool, eps: float
) -> Tensor:
    """Magnitudes with the mixture's phase, or ratio masks on the mixture; shapes as `wiener`."""
    if softmask:
        estimate = scaled(mixture[:, None], magnitudes / (eps + magnitudes.sum(1, keepdim=True)))
    else:
        estimate = scaled(phasor(mixture)[:, None], magnitudes)
    if residual:
        rest = mixture[:, None] - estimate.sum(1, keepdim=True)
        estimate = torch.cat([estimate, rest], dim=1)
    return estimate


def scaled(spectrum: Tensor, factor: Tensor) -> Tensor:
    """Complex times real, without first making the factor complex."""
    return torch.view_as_complex(torch.view_as_real(spectrum) * factor[..., None])


def phasor(spectrum: Tensor) -> Tensor:
    """Complex numbers of modulus one with the spectrum's phase; 1 where the spectrum is 0."""
    modulus = spectrum.abs()
    return torch.where(modulus > 0, scaled(spectrum, 1 / modulus.clamp_min(1e-30)), 1.0)


def expectation_maximisation(
    estimate: Tensor, mixture: Tensor, *, iterations: int, eps: float
) -> Tensor:
    """Refine complex estimates that share one spatial model over all their frames.

    Shape:
        estimate (batch, targets, channels, frames, freq), mixture (batch, channels, frames, freq)
        -> (batch, targets, channels, frames, freq).
    """
    for _ in range(iterations):
        psd = power(estimate).mean(2)  # (batch, targets, frames, freq)
        weight = eps + psd.sum(2)
        sides = estimate.unbind(2)
        # spatial covariances, entry by entry: (batch, targets, 1, freq)
        spatial = [[((a * b.conj()).sum(2) / weight)[:, :, None] for b in sides] for a in sides]
        mixed = [[(psd * entry).sum(1) for entry in row] for row in spatial]
        for index, row in enumerate(mixed):
            row[index] = row[index] + eps**0.5
        whitened = solve(mixed, mixture.unbind(1))
        gained = [
            reduce(torch.add, [a * b[:, None] for a, b in zip(row, whitened, strict=True)])
            for row in spatial
        ]
        estimate = torch.stack([scaled(side, psd) for side in gained], 2)
    return estimate


def power(spectrum: Tensor) -> Tensor:
    """Squared modulus, real, of the same shape."""
    return spectrum.real.square() + spectrum.imag.square()


def solve(covariance: list[list[Tensor]], mixture: Sequence[Tensor]) -> list[Tensor]:
    """Inverse Hermitian covariance times mixture, in closed form up to two channels.

    Shape:
        covariance: rows of entries (batch, frames, freq), mixture: channels (batch, frames, freq)
        -> channels of the same shape.
    """
    if len(mixture) == 1:
        return [mixture[0] / covariance[0][0].real]
    if len(mixture) > 2:
        matrices = torch.stack([torch.stack(row, -1) for row in covariance], -2)
        return list(torch.linalg.solve(matrices, torch.stack(list(mixture), -1)).unbind(-1))
    left, right = mixture
    a, d, b = covariance[0][0].real, covariance[1][1].real, covariance[0][1]
    inverse = 1 / (a * d - power(b))
    return [scaled(d * left - b * right, inverse), scaled(a * right - b.conj() * left, inverse)]
