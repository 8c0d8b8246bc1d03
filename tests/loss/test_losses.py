"""Every loss keeps batch and targets, is least at the truth, and stays finite on silence."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sepexp import build
from sepexp.cli.compose import compose, conf_dir, plain
from sepexp.dsp.stft import STFT
from sepexp.errors import UserError
from sepexp.loss.combine import TargetWeights, WeightedSum
from sepexp.loss.time import L1, MSE, NegativeSISDR
from sepexp.separation import Separation

# these read what only some models hand out; they are tried beside those models
OF_SOME_MODELS = {"expected_error", "phase_sensitive", "volume_balanced"}
# these reward being far from the other targets, so a little beyond the truth is better still
BEYOND_THE_TRUTH = {"dissimilarity", "discriminative", "l1_away"}
ALL = sorted(path.stem for path in (conf_dir() / "loss").glob("*.yaml"))
NAMES = [name for name in ALL if name not in OF_SOME_MODELS]
STFT_256 = STFT(n_fft=256, hop=64)


def make(name: str) -> torch.nn.Module:
    return build.instantiate(plain(compose([f"loss={name}"]))["loss"], where="loss")


def separation(waveforms: Tensor) -> Separation:
    return Separation(waveforms, STFT_256.analyse(waveforms).abs())


def example(seed: int = 0) -> tuple[Separation, Separation, Tensor]:
    torch.manual_seed(seed)
    truth = torch.randn(3, 4, 2, 5000) * 0.1
    guess = truth + 0.05 * torch.randn_like(truth)
    return separation(guess), separation(truth), truth.sum(1)


@pytest.mark.parametrize("name", NAMES)
def test_keeps_batch_and_targets_and_likes_the_truth_best(name: str) -> None:
    loss = make(name)
    estimate, truth, mixture = example()
    wrong, right = loss(estimate, truth, mixture), loss(truth, truth, mixture)
    assert wrong.shape == (3, 4)
    assert name in BEYOND_THE_TRUTH or (right < wrong).all()


@pytest.mark.parametrize("name", sorted(OF_SOME_MODELS))
def test_a_loss_of_some_models_says_which(name: str) -> None:
    with pytest.raises(UserError, match="model="):
        make(name)(*example())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("silent", ["truth", "estimate", "both"])
def test_silence_gives_finite_values_and_gradients(name: str, silent: str) -> None:
    loss = make(name)
    estimate, truth, mixture = example()
    guess = estimate.waveforms * (silent == "truth")
    guess.requires_grad_()
    true = separation(truth.waveforms * (silent == "estimate"))
    values = loss(separation(guess), true, mixture)
    values.sum().backward()
    assert torch.isfinite(values).all() and torch.isfinite(guess.grad).all()


@pytest.mark.parametrize("name", NAMES)
def test_an_item_does_not_depend_on_its_batch(name: str) -> None:
    loss = make(name)
    estimate, truth, mixture = example()
    one = [Separation(*(x[1:2] for x in s[:2])) for s in (estimate, truth)]
    together = loss(estimate, truth, mixture)[1:2]
    assert torch.allclose(together, loss(*one, mixture[1:2]), rtol=1e-4, atol=1e-7)


def test_l1_and_mse_by_hand() -> None:
    truth = Separation(torch.zeros(1, 1, 1, 4))
    guess = Separation(torch.tensor([[[[1.0, -1.0, 3.0, 0.0]]]]))
    assert L1()(guess, truth, None).item() == 5 / 4
    assert MSE()(guess, truth, None).item() == 11 / 4


def test_si_sdr_is_the_textbook_number_and_ignores_gain() -> None:
    torch.manual_seed(0)
    true, noise = torch.randn(1, 1, 1, 8000), torch.randn(1, 1, 1, 8000)
    noise -= (noise * true).sum() / true.square().sum() * true
    noise *= (true.square().sum() / noise.square().sum() / 100).sqrt()  # 20 dB below
    loss = NegativeSISDR(zero_mean=False, floor_db=-120.0)
    for gain in (1.0, 0.3):
        value = loss(Separation(gain * (true + noise)), Separation(true), None)
        assert math.isclose(value.item(), -20.0, abs_tol=1e-3)


def test_weighted_sum_adds_what_it_says() -> None:
    estimate, truth, mixture = example()
    both = WeightedSum(terms={"l1": L1(), "mse": MSE()}, weights={"l1": 2.0, "mse": 3.0})
    expected = 2 * L1()(estimate, truth, mixture) + 3 * MSE()(estimate, truth, mixture)
    assert torch.allclose(both(estimate, truth, mixture), expected)
    with pytest.raises(ValueError, match="every weight"):
        WeightedSum(terms={"l1": L1()}, weights={"l1": 0.0})


def test_target_weights_keep_the_size_of_the_loss() -> None:
    estimate, truth, mixture = example()
    plain_loss = L1()(estimate, truth, mixture)
    weighted = TargetWeights(loss=L1(), weights=[3.0, 1.0, 0.0, 0.0])(estimate, truth, mixture)
    assert torch.allclose(weighted, plain_loss * torch.tensor([3.0, 1.0, 0.0, 0.0]))


def test_a_spectrum_loss_says_what_it_misses() -> None:
    estimate, truth, mixture = example()
    with pytest.raises(ValueError, match="waveforms only"):
        make("spectra_mse")(estimate._replace(spectra=None), truth, mixture)
