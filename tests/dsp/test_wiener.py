"""The Wiener filter against norbert, against hand-made scenes, and against its own promises."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sepexp.dsp.wiener import phasor, solve, wiener


def scene(targets: int = 3, channels: int = 2, freq: int = 17, frames: int = 40) -> Tensor:
    """Complex spectra of sources, each with its own place and its own envelope."""
    generator = torch.Generator().manual_seed(0)
    shape = (2, targets, 1, freq, frames)
    signal = torch.randn(shape, dtype=torch.complex128, generator=generator)
    envelope = torch.rand(shape, generator=generator, dtype=torch.float64) ** 3
    place = torch.randn(2, targets, channels, 1, 1, dtype=torch.complex128, generator=generator)
    diffuse = torch.randn(
        (2, targets, channels, freq, frames), dtype=torch.complex128, generator=generator
    )
    return envelope * (signal * place + 0.1 * diffuse)


def parts(channels: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    sources = scene(channels=channels)
    return sources, sources.abs(), sources.sum(1)


def sdr(estimate: Tensor, truth: Tensor) -> float:
    return (
        10 * (truth.abs().square().sum() / (estimate - truth).abs().square().sum()).log10()
    ).item()


@pytest.mark.parity
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("softmask", [False, True])
@pytest.mark.parametrize("iterations", [0, 1, 3])
def test_equals_norbert(channels: int, softmask: bool, iterations: int) -> None:
    norbert = pytest.importorskip("norbert")
    _, magnitudes, mixture = parts(channels)
    mixture = 20 * mixture  # loud enough that the estimates are scaled down and up again
    magnitudes = 18 * magnitudes
    ours = wiener(
        magnitudes, mixture, iterations=iterations, softmask=softmask, window=None, eps=1e-10
    )
    for item in range(2):
        theirs = norbert.wiener(
            magnitudes[item].permute(3, 2, 1, 0).numpy().copy(),
            mixture[item].permute(2, 1, 0).numpy().copy(),
            iterations=iterations,
            use_softmask=softmask,
            eps=1e-10,
        )
        theirs = torch.from_numpy(theirs).permute(3, 2, 1, 0)
        assert torch.allclose(ours[item], theirs, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_estimates_sum_to_the_mixture(channels: int) -> None:
    """The gains of all sources sum to one up to the regularisation."""
    _, magnitudes, mixture = parts(channels)
    estimate = wiener(magnitudes, mixture, iterations=1)
    assert torch.allclose(estimate.sum(1), mixture, atol=1e-2)


def test_first_estimates() -> None:
    _, magnitudes, mixture = parts()
    phase = wiener(magnitudes, mixture, iterations=0)
    assert torch.allclose(phase.abs(), magnitudes)
    assert torch.allclose(phase.angle(), mixture.angle()[:, None].expand_as(phase), atol=1e-6)
    mask = wiener(magnitudes, mixture, iterations=0, softmask=True)
    assert torch.allclose(mask.sum(1), mixture, atol=1e-6)
    rest = wiener(magnitudes[:, :1], mixture, iterations=0, residual=True)
    assert rest.shape[1] == 2
    assert torch.allclose(rest.sum(1), mixture)


def test_the_mixture_itself_comes_back() -> None:
    _, _, mixture = parts()
    estimate = wiener(mixture.abs()[:, None], mixture, iterations=0)
    assert torch.allclose(estimate[:, 0], mixture, atol=1e-12)


def test_true_magnitudes_separate_better_with_space() -> None:
    """Sources at different places: the spatial model must beat masks made of the same numbers."""
    sources, magnitudes, mixture = parts()
    mask = wiener(magnitudes, mixture, iterations=0, softmask=True)
    filtered = wiener(magnitudes, mixture, iterations=2)
    assert sdr(mask, sources) > 3
    assert sdr(filtered, sources) > sdr(mask, sources) + 2


def test_windows_are_independent() -> None:
    _, magnitudes, mixture = parts()
    whole = wiener(magnitudes, mixture, iterations=1, window=25)
    first = wiener(magnitudes[..., :25], mixture[..., :25], iterations=1, window=None)
    second = wiener(magnitudes[..., 25:], mixture[..., 25:], iterations=1, window=None)
    assert torch.allclose(whole, torch.cat([first, second], -1), atol=1e-12)


def test_residual_helps_a_single_target() -> None:
    sources, magnitudes, mixture = parts()
    estimate = wiener(magnitudes[:, :1], mixture, iterations=1, residual=True)
    phase = wiener(magnitudes[:, :1], mixture, iterations=0)
    assert estimate.shape[1] == 2
    assert sdr(estimate[:, 0], sources[:, 0]) > sdr(phase[:, 0], sources[:, 0])


def test_keeps_float32_outside_and_float64_inside() -> None:
    _, magnitudes, mixture = parts()
    single = wiener(magnitudes.float(), mixture.to(torch.complex64), iterations=1)
    assert single.dtype == torch.complex64
    double = wiener(magnitudes, mixture, iterations=1)
    assert torch.allclose(single.to(torch.complex128), double, atol=1e-4)  # of inputs in float32


def test_silence_and_a_silent_source() -> None:
    _, magnitudes, mixture = parts()
    assert torch.equal(wiener(0 * magnitudes, 0 * mixture, iterations=2), torch.zeros_like(scene()))
    magnitudes[:, 0] = 0
    estimate = wiener(magnitudes, mixture, iterations=2)
    assert torch.isfinite(estimate.abs()).all()
    assert estimate[:, 0].abs().max() < 1e-6


def test_gradients_are_finite() -> None:
    _, magnitudes, mixture = parts()
    magnitudes.requires_grad_()
    wiener(magnitudes, 0 * mixture, iterations=1).abs().sum().backward()
    assert magnitudes.grad is not None and torch.isfinite(magnitudes.grad).all()


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_solve(channels: int) -> None:
    torch.manual_seed(0)
    root = torch.randn(2, 5, 7, channels, channels, dtype=torch.complex128)
    covariance = root @ root.mH + 0.1 * torch.eye(channels)
    mixture = torch.randn(2, 5, 7, channels, dtype=torch.complex128)
    entries = [list(row.unbind(-1)) for row in covariance.unbind(-2)]
    solved = torch.stack(solve(entries, mixture.unbind(-1)), -1)
    assert torch.allclose((covariance @ solved[..., None])[..., 0], mixture)


def test_blocks_of_frequencies_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    _, magnitudes, mixture = parts()
    whole = wiener(20 * magnitudes, 20 * mixture, iterations=2)
    monkeypatch.setattr("sepexp.dsp.wiener.BINS", 5)
    assert torch.allclose(wiener(20 * magnitudes, 20 * mixture, iterations=2), whole, atol=1e-12)


def test_phasor_of_silence_is_one() -> None:
    values = phasor(torch.tensor([0j, 3j, -2.0 + 0j, 1e-20 + 0j], dtype=torch.complex64))
    expected = torch.tensor([1, 1j, -1, 1], dtype=torch.complex64)
    assert torch.allclose(values, expected, atol=1e-6)
