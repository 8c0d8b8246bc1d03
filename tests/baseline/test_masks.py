from __future__ import annotations

import numpy as np
import scipy.signal
import torch
from torch import Tensor

from sepexp.baseline.masks import IBM, IRM, ComplexRatioMask, ZeroPaddedSTFT
from sepexp.baseline.nothing import MixtureOverTargets
from sepexp.baseline.wiener import MultichannelWiener, _inverse


def _published(song: Tensor, mask: str) -> np.ndarray:
    """The published oracle's arithmetic with SciPy's STFT in float64."""
    stems = song[0].double().numpy()
    _, _, mixture = scipy.signal.stft(stems.sum(0), nperseg=2048)
    spectra = [np.abs(scipy.signal.stft(stem, nperseg=2048)[2]) for stem in stems]
    eps = np.finfo(float).eps
    masks = {
        "IRM2": [s**2 / (eps + sum(other**2 for other in spectra)) for s in spectra],
        "IBM": [(s / (eps + np.abs(mixture)) >= 0.5).astype(float) for s in spectra],
    }[mask]
    estimates = [scipy.signal.istft(m * mixture, nperseg=2048)[1] for m in masks]
    return np.stack(estimates)[..., : stems.shape[-1]]


def test_masks_equal_the_published_arithmetic(song: Tensor) -> None:
    """Same frames, same ends, same masks; float32 against float64 is all that may differ.

    A bin that lies on the binary threshold may fall to the other side: hence the mean there.
    """
    mixture = song.sum(1)
    ratio = IRM(alpha=2.0)(mixture, song).waveforms[0].numpy()
    # scipy's spectra are scaled by the window's sum, which eps sees: 1e-5 of the peak
    assert np.abs(ratio - _published(song, "IRM2")).max() < 1e-5
    binary = IBM()(mixture, song).waveforms[0].numpy()
    assert np.abs(binary - _published(song, "IBM")).mean() < 1e-5


def test_ratio_masks_sum_to_the_mixture(song: Tensor) -> None:
    mixture = song.sum(1)
    for row in (IRM(alpha=1.0), IRM(alpha=2.0), MixtureOverTargets(), MultichannelWiener()):
        total = row(mixture, song).waveforms.sum(1)
        assert torch.allclose(total, mixture, atol=2e-5)


def test_complex_mask_is_clipped_and_perfect_when_it_is_not(song: Tensor) -> None:
    mixture = song.sum(1)
    errors = [
        (ComplexRatioMask(bound=bound)(mixture, song).waveforms - song).square().mean().item()
        for bound in (0.5, 1.0, 2.0, 5.0, 1e6)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-9
    stft = ZeroPaddedSTFT(n_fft=2048, hop=1024)
    # a target louder than the mixture everywhere: the mask is 1 and the mixture comes back
    louder = ComplexRatioMask(bound=1.0)(mixture, 3 * mixture[:, None]).waveforms[:, 0]
    assert torch.allclose(louder, mixture, atol=1e-5)
    assert stft.analyse(mixture).shape[-2] == 1025


def test_wiener_tells_directions_apart() -> None:
    """Two noises in the same bins from two directions: powers can't part them, covariances can."""
    torch.manual_seed(0)
    first, second = 0.1 * torch.randn(2, 1, 1, 40000)
    truth = torch.stack(
        [first * torch.tensor([[1.0], [0.2]]), second * torch.tensor([[0.1], [1.0]])], 1
    )
    mixture = truth.sum(1)
    wiener = (MultichannelWiener()(mixture, truth).waveforms - truth).square().mean()
    ratio = (IRM(alpha=2.0)(mixture, truth).waveforms - truth).square().mean()
    assert wiener < 1e-6 * truth.square().mean() < ratio


def test_inverse_of_small_and_larger_matrices() -> None:
    torch.manual_seed(0)
    for channels in (1, 2, 3):
        root = torch.randn(5, channels, channels, dtype=torch.complex128)
        matrix = root @ root.mH
        eye = torch.eye(channels, dtype=matrix.dtype).expand_as(matrix)
        assert torch.allclose(_inverse(matrix) @ matrix, eye, atol=1e-8)
