"""Multichannel Wiener filter with expectation maximisation for any set of magnitude estimates.

Every source is a local Gaussian: a power spectral density for each bin and frame times a spatial
covariance for each bin (Duong et al., doi 10.1109/TASL.2010.2050716). The covariance is the plain
weighted average of the estimates' outer products (Nugraha et al., doi 10.1109/TASLP.2016.2580946),
which is not the exact M-step but more robust on music; Open-Unmix and norbert use it too.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor


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
    frames = mixture.shape[-1]
    window = window or frames
    pieces = []
    with torch.autocast(mixture.device.type, enabled=False):
        for start in range(0, frames, window):
            mix = mixture[..., start : start + window]
            guess = magnitudes[..., start : start + window].to(mix.real.dtype)
            if mix.device.type != "mps":  # which has no float64
                mix, guess = mix.to(torch.complex128), guess.double()
            estimate = first_estimate(guess, mix, softmask=softmask, residual=residual, eps=eps)
            estimate = expectation_maximisation(estimate, mix, iterations=iterations, eps=eps)
            pieces.append(estimate.to(mixture.dtype))
    return torch.cat(pieces, dim=-1)


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
        estimate (batch, targets, channels, freq, frames), mixture (batch, channels, freq, frames)
        -> (batch, targets, channels, freq, frames).
    """
    targets, channels = estimate.shape[1:3]
    # eps is absolute, so the loudest bin is brought down to at most 10
    scale = (mixture.abs().amax(dim=(1, 2, 3), keepdim=True) / 10).clamp_min(1.0)
    mix = rearrange(mixture / scale, "batch channels freq frames -> batch freq channels frames")
    y = rearrange(
        estimate / scale[:, None],
        "batch targets channels freq frames -> batch freq targets channels frames",
    )
    for _ in range(iterations):
        psd = y.abs().square().mean(dim=3)  # (batch, freq, targets, frames)
        weight = eps + psd.sum(-1)[..., None, None]
        spatial = y @ y.mH / weight  # (batch, freq, targets, channels, channels)
        whitened = solve(mixture_covariance(psd, spatial, eps), mix)
        gained = spatial.flatten(2, 3) @ whitened  # (batch, freq, targets x channels, frames)
        y = scaled(gained.unflatten(2, (targets, channels)), psd[:, :, :, None])
    y = rearrange(y, "batch freq targets channels frames -> batch targets channels freq frames")
    return scaled(y, scale[:, None])


def mixture_covariance(psd: Tensor, spatial: Tensor, eps: float) -> Tensor:
    """Sum over targets of psd x spatial covariance, plus sqrt(eps) on the diagonal.

    Shape:
        psd (batch, freq, targets, frames), spatial (batch, freq, targets, channels, channels)
        -> complex (batch, freq, channels, channels, frames).
    """
    channels = spatial.shape[-1]
    parts = torch.view_as_real(spatial.resolve_conj())  # one product of real matrices, not complex
    parts = rearrange(parts, "batch freq targets i j part -> batch freq (part i j) targets")
    summed = (parts @ psd).unflatten(2, (2, channels, channels))
    floor = eps**0.5 * torch.eye(channels, dtype=psd.dtype, device=psd.device)
    return torch.complex(summed[:, :, 0] + floor[..., None], summed[:, :, 1])


def solve(covariance: Tensor, mixture: Tensor) -> Tensor:
    """Inverse Hermitian covariance times mixture, in closed form up to two channels.

    Shape:
        covariance (batch, freq, channels, channels, frames),
        mixture (batch, freq, channels, frames) -> the mixture's shape.
    """
    channels = mixture.shape[2]
    if channels == 1:
        return mixture / covariance[:, :, 0]
    if channels > 2:
        matrices = rearrange(covariance, "batch freq i j frames -> batch freq frames i j")
        vectors = rearrange(mixture, "batch freq i frames -> batch freq frames i 1")
        solved = torch.linalg.solve(matrices, vectors)
        return rearrange(solved, "batch freq frames i 1 -> batch freq i frames")
    left, right = mixture.unbind(2)
    a, d = covariance[:, :, 0, 0].real, covariance[:, :, 1, 1].real
    b = covariance[:, :, 0, 1]
    determinant = a * d - (b.real.square() + b.imag.square())
    return (
        torch.stack([d * left - b * right, a * right - b.conj() * left], 2)
        / determinant[:, :, None]
    )
