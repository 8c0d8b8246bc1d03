"""The audit passes what is drawn as promised, and only that."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fake_songs import SOURCES, FakeCorpus, songs

from sepexp.build import instantiate
from sepexp.data import audit
from sepexp.data.audit import Check, Draws
from sepexp.data.module import Stream
from sepexp.data.sampling import Sampling

COUNT = 10_000
ROOM = "sepexp.augmentation."
CONFIG: dict[str, Any] = {
    "_target_": ROOM + "chain.Augmentations",
    "remix": {"_target_": ROOM + "remix.Remix", "p": 0.5},
    "mixup": {"_target_": ROOM + "mixup.Mixup", "p": 0.1, "low": 0.5, "high": 0.8},
    "tempo": {"_target_": ROOM + "tempo.Tempo", "p": 0.3, "deviation": 0.05, "limit": 0.12},
    "pitch": {
        "_target_": ROOM + "pitch.Pitch", "p": 0.4, "semitones": 2, "untouched": ["drums"],
        "together": True,
    },
    "gain": {"_target_": ROOM + "gain.Gain", "low": 0.25, "high": 1.25},
    "swap": {"_target_": ROOM + "swap.Swap", "p": 0.5},
    "polarity": {"_target_": ROOM + "polarity.Polarity", "p": 0.0},
}  # fmt: skip


def stream(config: dict[str, Any]) -> Stream:
    return Stream(
        corpus=FakeCorpus(songs(4), songs(1), []), store=None,
        augmentation=instantiate(config), sampling=Sampling(balanced=True, active=0, floor=-60),
        sources=list(SOURCES), sample_rate=1000, channels=2, segment=1.0, context=0, batch_size=2,
        examples_per_epoch=14, num_workers=0, prefetch=2, seed=1, valid_seconds=None,
        test_seconds=None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def draws() -> Draws:
    return audit.draw(stream(CONFIG).chunks(), COUNT)


def broken(draws: Draws, config: dict[str, Any]) -> set[str]:
    return {one.augmentation for one in audit.violations(audit.check(draws, config))}


def test_what_is_drawn_as_promised_passes(draws: Draws) -> None:
    checks = audit.check(draws, CONFIG)
    assert {one.augmentation for one in checks} == set(CONFIG) - {"_target_"}
    assert all(one.fine for one in checks), [one for one in checks if not one.fine]
    # half of the tempo draws are shared by all sources, the other half is each source's own
    (tempo,) = [one for one in checks if (one.augmentation, one.what) == ("tempo", "changed")]
    trials = int(tempo.expected.split()[-1])
    assert COUNT * 2.4 < trials < COUNT * 2.6


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("remix", "p", 0.53),
        ("remix", "p", 1.0),
        ("mixup", "p", 0.12),
        ("mixup", "high", 0.79),
        ("tempo", "p", 0.27),
        ("tempo", "limit", 0.11),
        ("tempo", "deviation", 0.055),
        ("pitch", "p", 0.5),
        ("pitch", "semitones", 1),
        ("pitch", "semitones", 3),
        ("pitch", "untouched", ["drums", "bass"]),
        ("gain", "low", 0.26),
        ("gain", "high", 1.4),
        ("swap", "p", 0.53),
        ("polarity", "p", 0.01),
    ],
)
def test_a_promise_that_is_not_kept_is_found(draws: Draws, name: str, key: str, value: Any) -> None:
    assert broken(draws, CONFIG | {name: CONFIG[name] | {key: value}}) == {name}


def test_sources_that_should_share_a_draw_and_do_not(draws: Draws) -> None:
    spoiled = {name: values.copy() for name, values in draws.numbers.items()}
    row = int(np.flatnonzero(draws.together)[0])
    for name, value in (("tempo", 1.01), ("semitones", 1.0)):
        spoiled[name][row] = (value, value - 1 if name == "semitones" else 1.0, value, value)
    spoiled["semitones"][row, 0] = -1
    aligned = draws.aligned.copy()
    aligned[row] = False
    assert broken(draws._replace(numbers=spoiled, aligned=aligned), CONFIG) == {
        "remix", "tempo", "pitch",
    }  # fmt: skip
    odd = {**draws.numbers, "polarity": np.full((COUNT, 4), 0.5)}
    assert broken(draws._replace(numbers=odd), CONFIG) == {"polarity"}


def test_what_is_off_or_from_elsewhere_promises_nothing(draws: Draws) -> None:
    config = {"_target_": "x", "remix": None, "further": {"gain": {"_target_": "mine.Own"}}}
    assert audit.check(draws, config) == [
        Check("gain", "range", "unknown here", audit._span(draws.numbers["gain"]), None)
    ]
    nothing = dict.fromkeys(CONFIG, None) | {"_target_": CONFIG["_target_"]}
    assert audit.check(audit.draw(stream(nothing).chunks(), 10), nothing) == []


def test_before_and_after_differ_by_what_was_drawn() -> None:
    pointwise = CONFIG | {"mixup": None, "tempo": None, "pitch": None}
    data = stream(pointwise)
    changed = 0
    for index in range(6):
        heard = audit.render(data, index)
        for source in range(4):
            before = heard.before[source]
            swapped = before[::-1] if heard.numbers["swap"][source] else before
            expected = swapped * np.float32(heard.numbers["gain"][source])
            assert np.allclose(heard.after[source], expected, atol=1e-6)
            changed += not np.array_equal(before, heard.after[source])
            track = data.tracks("train")[[t.name for t in data.tracks("train")].index(
                heard.songs[source]
            )]  # fmt: skip
            start = round(heard.seconds[source] * 1000)
            stored = track.read(SOURCES[source], start, 1000) / np.float32(32768)
            assert np.array_equal(before, stored)
    assert changed == 24
    full = audit.render(stream(CONFIG), 0)
    assert full.before.shape == full.after.shape == (4, 2, 1000)
    assert set(full.numbers) >= {"tempo", "semitones", "mixup"}
