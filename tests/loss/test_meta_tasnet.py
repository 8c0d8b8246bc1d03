"""Meta-TasNet's loss by hand: terms, proportions, stages."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sepexp.loss.away import L1Away
from sepexp.loss.meta_tasnet import StagedSISDR, between_items, between_targets
from sepexp.loss.time import NegativeSISDR
from sepexp.nn.doubling import Doubling
from sepexp.separation import Separation


def staged(**weights: float) -> StagedSISDR:
    zeros = {"reconstruction": 0.0, "dissimilarity": 0.0, "similarity": 0.0}
    return StagedSISDR(**(zeros | weights), floor_db=-60.0)


def example() -> tuple[Separation, Separation, Tensor]:
    torch.manual_seed(0)
    truth = torch.randn(2, 3, 1, 400)
    guess = truth + 0.3 * torch.randn_like(truth)
    halve = Doubling().undo
    mixture = truth.sum(1)
    extras = {
        "waveforms2": guess,
        "waveforms1": halve(guess.flatten(1, 2)).unflatten(1, (3, 1)),
        "mixture2": mixture,
        "mixture1": halve(mixture),
        "reconstruction2": mixture + torch.randn_like(mixture),
        "reconstruction1": halve(mixture),
        "latents2": torch.randn(2, 1, 3, 8, 10),
        "latents1": torch.randn(2, 1, 3, 4, 10),
    }
    return Separation(guess, extras=extras), Separation(truth), mixture


def test_every_stage_counts() -> None:
    estimate, truth, mixture = example()
    plain = NegativeSISDR(zero_mean=False, floor_db=-60.0)
    low = Separation(Doubling().undo(truth.waveforms.flatten(1, 2)).unflatten(1, (3, 1)))
    low_guess = Separation(estimate.extras["waveforms1"])
    expected = plain(estimate, truth, mixture) + plain(low_guess, low, mixture)
    assert torch.allclose(staged()(estimate, truth, mixture), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("term", "sign"), [("reconstruction", 1), ("dissimilarity", 1), ("similarity", -1)]
)
def test_shared_terms_sum_over_targets_to_themselves(term: str, sign: int) -> None:
    estimate, truth, mixture = example()
    extra = staged(**{term: 2.0})(estimate, truth, mixture) - staged()(estimate, truth, mixture)
    plain = NegativeSISDR(zero_mean=False, floor_db=-60.0)
    total = torch.zeros(2)
    for number in (1, 2):
        named = {
            key[:-1]: value for key, value in estimate.extras.items() if key[-1] == str(number)
        }
        values = {
            "reconstruction": plain(
                Separation(named["reconstruction"][:, None]),
                Separation(named["mixture"][:, None]),
                mixture,
            )[:, 0],
            "dissimilarity": between_targets(named["latents"]),
            "similarity": between_items(named["latents"]).mean(1),
        }
        total = total + values[term]
    assert torch.allclose(extra.sum(1), sign * 2.0 * total, atol=1e-3)


def test_similarities_by_hand() -> None:
    latents = torch.zeros(2, 1, 2, 2, 1)
    latents[0, 0, 0, :, 0] = torch.tensor([1.0, 0.0])
    latents[0, 0, 1, :, 0] = torch.tensor([-1.0, 1.0])
    latents[1, 0, 0, :, 0] = torch.tensor([-2.0, 0.0])
    latents[1, 0, 1, :, 0] = torch.tensor([0.0, 3.0])
    root = 0.5**0.5
    assert torch.allclose(between_targets(latents), torch.tensor([root, 0.0]))  # signs don't count
    expected = torch.tensor([[-1.0, root], [-1.0, root]])  # here they do
    assert torch.allclose(between_items(latents), expected)


def test_without_extras_it_is_the_last_stages_si_sdr() -> None:
    estimate, truth, mixture = example()
    plain = NegativeSISDR(zero_mean=False, floor_db=-60.0)
    last = Separation(estimate.waveforms)
    loss = staged(dissimilarity=3.0)
    assert torch.equal(loss(last, truth, mixture), plain(last, truth, mixture))


def test_l1_away_by_hand() -> None:
    truth = Separation(torch.tensor([[[[1.0, 0.0]]]]))
    mixture = torch.tensor([[[1.0, 4.0]]])  # the rest: 0, 4
    guess = Separation(torch.tensor([[[[0.5, 1.0]]]]))
    expected = (0.5 + 1.0) / 2 - 0.1 * (0.5 + 3.0) / 2
    assert L1Away(weight=0.1)(guess, truth, mixture).item() == pytest.approx(expected)
