"""Leaks, residues and masked bins, on signals whose answers are known."""

from __future__ import annotations

import math

import pytest
import torch

from sepexp.errors import UserError
from sepexp.metric.diagnostics import leak_matrix, masked_sdr, silent_residual


@pytest.fixture
def sources() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(3, 2, 60_000, dtype=torch.float64)


def test_leak_matrix_finds_the_gains(sources: torch.Tensor) -> None:
    gains = torch.tensor([[1.0, 0.1, 0.0], [0.0, 0.5, 0.0], [0.2, 0.0, 1.0]], dtype=torch.float64)
    estimates = torch.einsum("ij,jcn->icn", gains, sources)
    leaks = leak_matrix(sources, estimates, n_fft=512)
    expected = 20 * torch.log10(gains.abs())
    heard = gains > 0
    assert leaks[heard].tolist() == pytest.approx(expected[heard].tolist(), abs=1e-3)
    assert (leaks[~heard] < -100).all()


def test_leak_matrix_hears_through_filters(sources: torch.Tensor) -> None:
    estimates = sources.clone()
    estimates[0, :, 3:] += 0.1 * sources[1, :, :-3]
    leaks = leak_matrix(sources, estimates, n_fft=512)
    assert float(leaks[0, 1]) == pytest.approx(-20, abs=0.5)
    # a fit of independent noise explains some of anything: 1 / equations
    assert float(leaks[0, 2]) < -35


def test_leak_of_a_silent_reference_is_nan(sources: torch.Tensor) -> None:
    sources[2] = 0
    leaks = leak_matrix(sources, sources, n_fft=512)
    assert torch.isnan(leaks[:, 2]).all()
    assert torch.isfinite(leaks[:, :2]).all()


def test_silent_residual_by_hand() -> None:
    references, estimates = torch.ones(2, 1, 100), torch.full((2, 1, 100), 0.1)
    references[0, :, 50:] = 0
    estimates[0, :, 50:75] = 0.02
    values = silent_residual(references, estimates, 25, 25)
    assert float(values[0]) == pytest.approx(10 * math.log10((0.02**2 + 0.1**2) / 2), abs=1e-5)
    assert math.isnan(values[1])
    assert float(silent_residual(references, 0 * estimates, 25, 25)[0]) == pytest.approx(-120)


def test_masked_sdr_looks_only_under_the_mixture() -> None:
    time = torch.arange(32_768, dtype=torch.float64) / 32_768
    quiet, loud = (
        level * torch.sin(2 * math.pi * hertz * time)[None]
        for level, hertz in ((0.01, 2048), (1.0, 6000))
    )
    references = torch.stack([quiet + loud, quiet])
    mixture = loud + torch.sin(2 * math.pi * 2048 * time)[None]
    estimates = torch.stack([0.9 * quiet + 0.99 * loud, 1.5 * quiet])
    first, second = masked_sdr(references, estimates, mixture)
    # the loud tone is not masked: its error, as large as the quiet tone, costs nothing here
    assert float(first) == pytest.approx(20, abs=0.2)
    assert float(second) == pytest.approx(20 * math.log10(2), abs=0.2)
    silence = masked_sdr(references, 0 * estimates, mixture)
    assert silence.tolist() == pytest.approx([0, 0], abs=1e-9)
    assert torch.isnan(masked_sdr(references[:1], estimates[:1], references[0])).all()


def test_refuses_other_shapes(sources: torch.Tensor) -> None:
    with pytest.raises(UserError):
        leak_matrix(sources, sources[:2])
    with pytest.raises(UserError):
        masked_sdr(sources, sources, sources[0, :1])
