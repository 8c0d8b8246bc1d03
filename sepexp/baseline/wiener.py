"""The multichannel Wiener oracle: masks that mix channels, from the true spatial covariances."""

from __future__ import annotations

import torch
from torch import Tensor

from sepexp.baseline.masks import EPS, ZeroPaddedSTFT, with_rest
from sepexp.separation import Separation

RIDGE = 1e-9  # relative to the power: keeps covariances of one direction invertible in float64
BLOCK = 64  # frequency bins at a time: bounds the memory of covariances on long songs


class MultichannelWiener:
    """Oracle MWF of SiSEC 2018 (arXiv 1804.06267): local Gaussian model with the true sources.

    Each source has one spatial covariance R over the whole song and frequency, and one power P
    in every bin; the filter is P_j R_j (sum_i P_i R_i)^-1. Covariances are normalised by their
    true trace; the published code takes another sum there by a slip, so its MWF rows differ a bit.

    Args:
        n_fft, hop: In samples.

    Shape:
        mixture (batch, channels, samples), truth (batch, targets, channels, samples)
        -> waveforms like the truth. Where the targets sum to the mixture, the estimates do too.
    """

    def __init__(self, *, n_fft: int = 2048, hop: int = 1024) -> None:
        self.stft = ZeroPaddedSTFT(n_fft=n_fft, hop=hop)

    @torch.no_grad()
    def __call__(self, mixture: Tensor, truth: Tensor) -> Separation:
        spectrum = self.stft.analyse(mixture)
        sources = torch.stack([self.stft.analyse(s) for s in with_rest(mixture, truth)], 1)
        estimate = torch.empty_like(sources[:, :-1])
        for start in range(0, spectrum.shape[-2], BLOCK):
            bins = slice(start, start + BLOCK)
            estimate[..., bins, :] = _filtered(spectrum[..., bins, :], sources[..., bins, :])
        return Separation(self.stft.synthesise(estimate, mixture.shape[-1]))


def _filtered(mixture: Tensor, sources: Tensor) -> Tensor:
    """All sources but the last, filtered out of (batch, channels, freq, frames)."""
    channels = mixture.shape[1]
    x = mixture.to(torch.complex128).permute(0, 2, 3, 1)[..., None]  # batch freq frames channels 1
    eye = torch.eye(channels, device=x.device)
    models = []
    for source in sources.unbind(1):
        s = source.to(torch.complex128).permute(0, 2, 3, 1)[..., None]
        outer = s @ s.mH
        power = s.abs().square().mean((-2, -1))
        spatial = (outer / (EPS + power)[..., None, None]).mean(2)  # batch freq channels channels
        trace = spatial.diagonal(dim1=-2, dim2=-1).sum(-1).real
        spatial = spatial * (channels / (EPS + trace))[..., None, None]
        spatial = spatial + RIDGE * eye
        inverse = _inverse(spatial)[:, :, None]
        # P = tr(R^-1 s s^H) / channels = s^H R^-1 s / channels
        refined = (s.mH @ inverse @ s).real.clamp_min(0) / channels
        models.append(refined * spatial[:, :, None])
    whole = sum(models[1:], models[0])
    power = whole.diagonal(dim1=-2, dim2=-1).sum(-1).real[..., None, None]
    whitened = _inverse(whole + (RIDGE * power + EPS) * eye) @ x
    estimates = [(model @ whitened)[..., 0] for model in models[:-1]]
    return torch.stack(estimates, 1).permute(0, 1, 4, 2, 3).to(sources.dtype)


def _inverse(matrix: Tensor) -> Tensor:
    """Inverse of Hermitian matrices (..., channels, channels); in closed form up to 2 x 2.

    LAPACK on ten million 2 x 2 matrices would take minutes a song.
    """
    channels = matrix.shape[-1]
    if channels == 1:
        return 1 / matrix
    if channels > 2:
        return torch.linalg.inv(matrix)
    a, b, c, d = matrix.flatten(-2).unbind(-1)
    adjugate = torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2)
    return adjugate / (a * d - b * c)[..., None, None]
