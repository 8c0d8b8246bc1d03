"""Remix and mixup decide what is read."""

from __future__ import annotations

import numpy as np
import pytest

from sepexp.augmentation.chain import Augmentations
from sepexp.augmentation.mixup import Mixup
from sepexp.augmentation.remix import Remix
from sepexp.data.chunks import Picks
from sepexp.errors import UserError

NAMES = ("vocals", "drums")


def test_remix_decides_once_for_an_example() -> None:
    generator = np.random.default_rng(1)
    drawn = np.array([Remix(p=0.25).draw(generator, NAMES)["remix"] for _ in range(2000)])
    assert (drawn[:, 0] == drawn[:, 1]).all()
    assert abs(drawn[:, 0].mean() - 0.25) < 0.04  # 4 standard errors
    picks = Picks(together=True, second=np.zeros(2))
    assert Remix(p=1).apply(picks, {"remix": np.ones(2)}).together is False
    assert Remix(p=1).apply(picks, {"remix": np.zeros(2)}).together is True


def test_mixup_draws_levels_for_its_share_of_sources() -> None:
    generator = np.random.default_rng(1)
    member = Mixup(p=0.3, low=0.5, high=1.0)
    drawn = np.array([member.draw(generator, NAMES)["mixup"] for _ in range(2000)])
    assert abs((drawn > 0).mean() - 0.3) < 0.03  # 4 standard errors of 4000 draws
    levels = drawn[drawn > 0]
    assert 0.5 <= levels.min() < 0.51 and 0.99 < levels.max() <= 1.0
    picks = member.apply(Picks(True, np.zeros(2)), {"mixup": np.array([0.0, 0.7])})
    assert picks.together and picks.second.tolist() == [0, 0.7]


def test_selections_work_in_their_order() -> None:
    chain = Augmentations(remix=Remix(p=1), mixup=Mixup(p=1, low=0.5, high=0.5))
    numbers = {"remix": np.ones(2), "mixup": np.array([0.5, 0.5])}
    picks = chain.select(Picks(True, np.zeros(2)), numbers)
    assert not picks.together and picks.second.tolist() == [0.5, 0.5]
    assert chain.shipped == ()  # nothing of it travels with the batch


def test_ranges_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UserError, match="remix.p is 7"):
        Remix(p=7)
    with pytest.raises(UserError, match="low=0 and high=1"):
        Mixup(p=1, low=0, high=1)
