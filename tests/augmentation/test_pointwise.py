"""Gain, swap and polarity by hand-worked arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sepexp.augmentation.chain import Augmentations
from sepexp.augmentation.gain import Gain
from sepexp.augmentation.polarity import Polarity
from sepexp.augmentation.swap import Swap
from sepexp.errors import UserError

NAMES = ("vocals", "drums")


def stems() -> torch.Tensor:
    """(batch 1, sources 2, channels 2, samples 3)"""
    return torch.tensor([[[[1.0, 2, 3], [4, 5, 6]], [[7, 8, 9], [0, -1, -2]]]])


def draws(member: Any, count: int = 2000) -> np.ndarray:
    generator = np.random.default_rng(1)
    (name,) = member.draws
    return np.array([member.draw(generator, NAMES)[name] for _ in range(count)])


def test_gain_scales_each_source() -> None:
    out = Gain(low=0, high=2).apply(stems(), {"gain": torch.tensor([[0.5, 2.0]])})
    assert out.tolist() == [[[[0.5, 1, 1.5], [2, 2.5, 3]], [[14, 16, 18], [0, -2, -4]]]]


def test_swap_exchanges_the_channels_of_the_chosen_source() -> None:
    out = Swap(p=0.5).apply(stems(), {"swap": torch.tensor([[1.0, 0.0]])})
    assert out.tolist() == [[[[4, 5, 6], [1, 2, 3]], [[7, 8, 9], [0, -1, -2]]]]
    mono = stems()[:, :, :1]
    assert torch.equal(Swap(p=0.5).apply(mono, {"swap": torch.ones(1, 2)}), mono)


def test_polarity_turns_the_chosen_source_over() -> None:
    out = Polarity(p=0.5).apply(stems(), {"polarity": torch.tensor([[1.0, -1.0]])})
    assert out.tolist() == [[[[1, 2, 3], [4, 5, 6]], [[-7, -8, -9], [0, 1, 2]]]]


def test_gains_fill_their_range_for_each_source_alone() -> None:
    gains = draws(Gain(low=0.25, high=1.25))
    assert gains.shape == (2000, 2)
    assert 0.25 <= gains.min() < 0.26 and 1.24 < gains.max() <= 1.25
    assert abs(gains.mean() - 0.75) < 0.02  # 4 standard errors of 4000 draws
    assert abs(np.corrcoef(gains.T)[0, 1]) < 0.09  # 4 standard errors


@pytest.mark.parametrize("kind", [Swap, Polarity])
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_chances_are_kept_for_each_source_alone(kind: Any, p: float) -> None:
    values = draws(kind(p=p))
    happened = values == 1 if kind is Swap else values == -1
    assert set(np.unique(values)) <= ({0, 1} if kind is Swap else {-1, 1})
    error = 4 * (p * (1 - p) / 4000) ** 0.5
    assert abs(happened.mean() - p) <= error


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Gain(low=2, high=1), "low=2 and high=1"),
        (lambda: Gain(low=-1, high=1), "expected 0 <= low"),
        (lambda: Swap(p=1.5), "swap.p is 1.5"),
        (lambda: Polarity(p=-0.1), "polarity.p is -0.1"),
    ],
)
def test_ranges_that_make_no_sense_are_refused(make: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        make()


def test_folding_is_the_same_as_applying_one_by_one() -> None:
    chain = Augmentations(
        gain=Gain(low=0.25, high=1.25), swap=Swap(p=0.5), polarity=Polarity(p=0.5)
    )
    numbers = {
        "gain": torch.tensor([[0.3, 1.2]]),
        "swap": torch.tensor([[1.0, 0.0]]),
        "polarity": torch.tensor([[-1.0, -1.0]]),
    }
    applied = chain.apply(stems(), numbers)
    folded = chain.fold(torch.ones(1, 2), torch.zeros(1, 2) != 0, numbers)
    assert chain.foldable
    factor, swapped = folded
    by_hand = [
        stem.flip(0) * f if s else stem * f
        for stem, f, s in zip(stems()[0], factor[0], swapped[0], strict=True)
    ]
    assert torch.equal(torch.stack(by_hand)[None], applied)


def test_foreign_augmentations_join_and_are_not_folded() -> None:
    class Square:
        kind = "pointwise"
        draws = ("square",)

        def draw(self, generator: np.random.Generator, names: Any) -> dict[str, np.ndarray]:
            return {"square": np.ones(len(names), np.float32)}

        def apply(self, stems: Any, numbers: Any) -> Any:
            return stems**2

    chain = Augmentations(gain=Gain(low=0, high=1), further={"square": Square()})
    assert chain.shipped == ("gain", "square")
    numbers = {"gain": torch.full((1, 2), 0.5), "square": torch.ones(1, 2)}
    assert torch.equal(chain.apply(stems(), numbers), (stems() / 2) ** 2)
    assert not chain.foldable
    with pytest.raises(UserError, match="both draw 'square'"):
        Augmentations(further={"a": Square(), "b": Square()})
    with pytest.raises(UserError, match="gain is a str of kind None"):
        Augmentations(gain="loud")
