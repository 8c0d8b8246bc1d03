"""Losses that look at several targets at once: values worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sepexp.errors import UserError
from sepexp.loss.balanced import VolumeBalanced
from sepexp.loss.combination import Combination, membership
from sepexp.loss.discriminative import Discriminative
from sepexp.loss.dissimilarity import Dissimilarity
from sepexp.loss.spectral import SpectraDistance
from sepexp.loss.weighted_sdr import WeightedSDR
from sepexp.separation import Separation

NAMES = ["vocals", "drums", "bass", "other"]
MIXTURE = torch.ones(2, 1, 8)


def constant(*values: float) -> Separation:
    """A target for each value, which all its waveform and spectrum consist of."""
    column = torch.tensor(values)[None, :, None]
    waveforms = column[:, :, None].expand(2, len(values), 1, 8).clone()
    spectra = column[..., None, None].expand(2, len(values), 1, 3, 4).clone()
    return Separation(waveforms, spectra)


def test_discriminative() -> None:
    loss = Discriminative(gamma=0.1, divergence=False)(
        constant(1.0, 2.0, 4.0), constant(0.0, 2.0, 3.0), MIXTURE
    )
    expected = [1 - 0.1 * (1 + 4), 0 - 0.1 * (4 + 1), 1 - 0.1 * (16 + 4)]
    assert torch.allclose(loss, torch.tensor(expected).expand(2, -1))


def test_discriminative_with_two_targets_has_the_paper_gradient() -> None:
    """Proportional to (1 - gamma) y + gamma s_other - s."""
    estimate, truth, gamma = constant(1.5, 0.3), constant(1.0, 0.2), 0.2
    estimate.spectra.requires_grad_()
    Discriminative(gamma=gamma, divergence=False)(estimate, truth, MIXTURE).sum().backward()
    expected = (1 - gamma) * estimate.spectra + gamma * truth.spectra.flip(1) - truth.spectra
    assert torch.allclose(estimate.spectra.grad, expected * 2 / 12)


def test_divergence_is_zero_at_the_truth_and_positive_elsewhere() -> None:
    loss = Discriminative(gamma=0.0, divergence=True)
    truth = constant(0.0, 0.5, 2.0)
    assert torch.allclose(loss(truth, truth, MIXTURE), torch.zeros(2, 3), atol=1e-7)
    assert (loss(constant(0.1, 0.4, 2.5), truth, MIXTURE) > 0).all()


def test_unbounded_gamma_is_refused() -> None:
    with pytest.raises(UserError, match="gamma"):
        Discriminative(gamma=1.0, divergence=False)
    with pytest.raises(UserError, match=r"less than 0\.333"):
        four = constant(1.0, 2.0, 3.0, 4.0)
        Discriminative(gamma=0.4, divergence=False)(four, four, MIXTURE)


def test_dissimilarity() -> None:
    loss = Dissimilarity(
        targets=NAMES,
        rest="other",
        voice="vocals",
        alpha=0.001,
        beta=0.01,
        beta_voice=0.03,
        rest_weight=0.5,
    )
    guess, true = [1.0, 2.0, 3.0, 5.0], [1.5, 2.0, 4.0, 0.0]
    value = loss(constant(*guess), constant(*true), MIXTURE)
    vocals = 0.25 - 0.001 * (1 + 9) - 0.03 * 1
    drums = 0 - 0.001 * (0.25 + 4) - 0.01 * 4
    bass = 1 - 0.001 * (2.25 + 1) - 0.01 * 9
    expected = torch.tensor([vocals, drums, bass, 0.5 * 25]).abs()
    assert torch.allclose(value, expected.expand(2, -1), atol=1e-6)


def test_combination_is_the_mean_over_all_sums() -> None:
    guess, true = constant(1.0, 2.0, 4.0), constant(0.0, 2.5, 3.0)
    loss = Combination(loss=SpectraDistance(power=2, magnitude=True), most=None)
    value = loss(guess, true, MIXTURE)
    errors = torch.tensor([1.0, -0.5, 1.0])
    members = membership(3, 2)
    assert members.tolist() == [
        [1, 0, 0],
        [0, 1, 0],
        [0, 0, 1],
        [1, 1, 0],
        [1, 0, 1],
        [0, 1, 1],
    ]
    assert torch.allclose(value.mean(1), (members @ errors).square().mean().expand(2))
    assert value.shape == (2, 3)
    assert torch.allclose(value[:, 0], value[:, 2])  # equal errors, equal blame


def test_combination_of_one_target_is_the_loss_itself() -> None:
    guess, true = constant(1.0), constant(0.0)
    inner = SpectraDistance(power=2, magnitude=True)
    value = Combination(loss=inner, most=None)(guess, true, MIXTURE)
    assert torch.allclose(value, inner(guess, true, MIXTURE))


def test_weighted_sdr() -> None:
    torch.manual_seed(0)
    waveforms = torch.randn(2, 3, 2, 50)
    truth, mixture = Separation(waveforms), waveforms.sum(1)
    loss = WeightedSDR()
    assert torch.allclose(loss(truth, truth, mixture), torch.full((2, 3), -1.0), atol=1e-4)
    worst = Separation(-waveforms)
    assert (loss(worst, truth, mixture) > loss(truth, truth, mixture) + 0.3).all()
    silent = Separation(torch.zeros(2, 3, 2, 50, requires_grad=True))
    value = loss(silent, Separation(torch.zeros(2, 3, 2, 50)), 0 * mixture)
    value.sum().backward()
    assert torch.equal(value.detach(), torch.zeros(2, 3))
    assert torch.isfinite(silent.waveforms.grad).all()


class Error(nn.Module):
    """Each target's first value."""

    def forward(self, estimate: Separation, truth: Separation, mixture: Tensor) -> Tensor:
        return estimate.waveforms[:, :, 0, 0]


def test_volume_balance() -> None:
    guess = constant(1.0, 1.0, 1.0)._replace(extras={"volume": torch.tensor([[4.0, 2.0, 1.0]] * 2)})
    value = VolumeBalanced(loss=Error())(guess, guess, MIXTURE)
    assert torch.allclose(value, torch.tensor([3 / 7, 6 / 7, 12 / 7]).expand(2, -1))
    with pytest.raises(UserError, match="u_net_channels"):
        VolumeBalanced(loss=Error())(constant(1.0), constant(1.0), MIXTURE)
