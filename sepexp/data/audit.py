"""What the augmentations draw, against what their config promises; and examples to listen to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from sepexp.data.batch import view
from sepexp.data.chunks import Chunks, Plan
from sepexp.data.doctor import plain
from sepexp.data.module import Stream

# A right draw fails one check of a rate in a million; an audit has some thirty.
CHANCE = 1e-6
ROUNDING = 1e-6  # relative: the numbers travel as float32


class Draws(NamedTuple):
    """Many draws side by side.

    Shape:
        numbers: each (draws, sources), as the augmentations drew and aligned them.
        together: (draws,) whether the sources of an example come from one place of one song.
        aligned: (draws,) whether all sources of an example begin at one sample of one song.
    """

    sources: tuple[str, ...]
    numbers: dict[str, np.ndarray]
    together: np.ndarray
    aligned: np.ndarray


class Check(NamedTuple):
    """One promise of a config and what was found; `fine` is None where nothing is promised."""

    augmentation: str
    what: str
    expected: str
    found: str
    fine: bool | None


class Heard(NamedTuple):
    """One example before and after its augmentation.

    Shape:
        before, after: (sources, channels, samples) float32.
        songs, seconds: of each source, its song's name and where in it the chunk begins.
        numbers: each (sources,).
    """

    number: int
    sources: tuple[str, ...]
    songs: list[str]
    seconds: list[float]
    numbers: dict[str, np.ndarray]
    before: np.ndarray
    after: np.ndarray


def draw(chunks: Chunks, count: int) -> Draws:
    """The first draws of the first epoch, without reading anything."""
    plans = [chunks.draw(index, 0) for index in range(count)]
    names = list(plans[0].numbers)
    numbers = {name: np.stack([plan.numbers[name] for plan in plans]) for name in names}
    places = np.array([[(read.song, read.start) for read in plan.reads] for plan in plans])
    aligned = np.asarray((places == places[:, :1]).all(axis=(1, 2)))
    remix = numbers.get("remix", np.zeros((count, len(chunks.sources))))
    return Draws(chunks.sources, numbers, np.asarray((remix == 0).all(axis=1)), aligned)


def check(draws: Draws, config: Mapping[str, Any]) -> list[Check]:
    """Rates and ranges of all augmentations that a config names.

    Args:
        draws: What was drawn.
        config: The `augmentation` group of the composed config.
    """
    members = {n: block for n, block in config.items() if isinstance(block, Mapping)}
    further = members.pop("further", {})
    found = []
    for name, block in (members | dict(further)).items():
        if not isinstance(block, Mapping) or "_target_" not in block:
            continue
        promises = PROMISES.get(str(block["_target_"]))
        found += promises(name, block, draws) if promises else _unknown(name, draws)
    return found


def render(stream: Stream, index: int) -> Heard:
    """An example as a training on any device gets it, and the same places untouched."""
    chunks = stream.chunks()
    plan = chunks.draw(index, 0)
    bare = chunks.read(plain(chunks, plan))
    stems = bare.stems[..., : chunks.length].astype(np.float32)
    before = stems * bare.numbers["scale"][:, None, None]
    room = chunks.room(1)
    chunks.fill(plan, room, 0)
    after = stream.on_after_batch_transfer(view(room), 0).stems[0]
    return Heard(
        number=index,
        sources=chunks.sources,
        songs=[chunks.tracks[read.song].name for read in plan.reads],
        seconds=[read.start / chunks.sample_rate for read in plan.reads],
        numbers=_numbers(plan),
        before=before,
        after=after.to(torch.float32).numpy().copy(),
    )


def _numbers(plan: Plan) -> dict[str, np.ndarray]:
    return {name: np.asarray(values, dtype=float) for name, values in plan.numbers.items()}


def _remix(name: str, block: Mapping[str, Any], draws: Draws) -> list[Check]:
    together = draws.together
    return [
        _rate(name, "remixed", ~together, block["p"]),
        _all(name, "else all sources from one place", draws.aligned[together]),
    ]


def _mixup(name: str, block: Mapping[str, Any], draws: Draws) -> list[Check]:
    levels = draws.numbers["mixup"]
    second = levels != 0
    return [
        _rate(name, "second stem", second, block["p"]),
        _range(name, "its level", levels[second], block["low"], block["high"]),
    ]


def _tempo(name: str, block: Mapping[str, Any], draws: Draws) -> list[Check]:
    values = draws.numbers["tempo"]
    # sources that sound together share one draw
    free = np.concatenate([values[~draws.together].ravel(), values[draws.together, 0]])
    changed = free != 1
    deviation, limit = block["deviation"], block["limit"]
    checks = [_range(name, "speed", values, 1 - limit, 1 + limit)]
    if deviation > 0 and limit > 0:
        checks.append(_rate(name, "changed", changed, block["p"]))
    if 0 < deviation < limit:
        near = np.abs(free[changed] - 1) < deviation
        checks.append(_rate(name, "of these within one deviation", near, 0.6826895))
        checks.append(_rate(name, "of these faster", free[changed] > 1, 0.5))
    common = values[draws.together]
    same = (common == common[:, :1]).all(axis=1)
    checks.append(_all(name, "one speed where not remixed", same))
    return checks


def _pitch(name: str, block: Mapping[str, Any], draws: Draws) -> list[Check]:
    values, most = draws.numbers["semitones"], int(block["semitones"])
    movable = np.array([source not in block["untouched"] for source in draws.sources])
    moving = values[:, movable]
    free = moving.ravel()
    checks = [_range(name, "semitones", values, -most, most)]
    checks.append(_all(name, "whole numbers", values == np.rint(values)))
    if block["untouched"]:
        checks.append(_all(name, "untouched sources stay", values[:, ~movable] == 0))
    if block["together"] and movable.any():
        common = moving[draws.together]
        checks.append(
            _all(name, "one shift where not remixed", (common == common[:, :1]).all(axis=1))
        )
        free = np.concatenate([moving[~draws.together].ravel(), common[:, 0]])
    for step in range(-most, most + 1):
        if step != 0 and movable.any():
            p = block["p"] / (2 * most + 1)
            checks.append(_rate(name, f"shifted by {step:+d}", free == step, p))
    return checks


def _gain(name: str, block: Mapping[str, Any], draws: Draws) -> list[Check]:
    values, low, high = draws.numbers["gain"], block["low"], block["high"]
    checks = [_range(name, "factor", values, low, high)]
    if low < high:
        for quarter in range(4):
            begin, end = low + (high - low) * np.array([quarter, quarter + 1]) / 4
            inside = (values >= begin) & (values < end)
            checks.append(_rate(name, f"from {begin:.4g} to {end:.4g}", inside, 0.25))
    return checks


def _swap(name: str, block: Mapping[str, Any], draws: Draws) -> list[Check]:
    return [_rate(name, "channels exchanged", draws.numbers["swap"] != 0, block["p"])]


def _polarity(name: str, block: Mapping[str, Any], draws: Draws) -> list[Check]:
    values = draws.numbers["polarity"]
    return [
        _rate(name, "turned over", values == -1, block["p"]),
        _all(name, "1 or -1", np.abs(values) == 1),
    ]


PROMISES = {
    "sepexp.augmentation.remix.Remix": _remix,
    "sepexp.augmentation.mixup.Mixup": _mixup,
    "sepexp.augmentation.tempo.Tempo": _tempo,
    "sepexp.augmentation.pitch.Pitch": _pitch,
    "sepexp.augmentation.gain.Gain": _gain,
    "sepexp.augmentation.swap.Swap": _swap,
    "sepexp.augmentation.polarity.Polarity": _polarity,
}


def _unknown(name: str, draws: Draws) -> list[Check]:
    """An augmentation from elsewhere: its range is shown, nobody knows what it should be."""
    values = draws.numbers.get(name)
    if values is None:
        return [
            Check(name, "its numbers", "unknown here", "not among the draws by this name", None)
        ]
    return [Check(name, "range", "unknown here", _span(values), None)]


def _rate(name: str, what: str, hits: np.ndarray, p: float) -> Check:
    """How often, against a binomial count; 0 and 1 must be exact."""
    count, trials = int(np.count_nonzero(hits)), int(hits.size)
    if not trials:
        return Check(name, what, f"{p:.4g} of the draws", "no draws", None)
    if p in (0, 1):
        low = high = int(p * trials)
    else:
        from scipy.stats import binom

        low, high = (int(edge) for edge in binom.interval(1 - CHANCE, trials, p))
    expected = f"{p:.4g}, from {low / trials:.4f} to {high / trials:.4f} of {trials}"
    return Check(name, what, expected, f"{count / trials:.4f}", low <= count <= high)


def _range(name: str, what: str, values: np.ndarray, low: float, high: float) -> Check:
    if not values.size:
        return Check(name, f"{what}: range", f"{low:.4g} to {high:.4g}", "no draws", None)
    room = ROUNDING * max(abs(low), abs(high))
    fine = bool(((values >= low - room) & (values <= high + room)).all())
    return Check(name, f"{what}: range", f"{low:.4g} to {high:.4g}", _span(values), fine)


def _all(name: str, what: str, kept: np.ndarray) -> Check:
    if not kept.size:
        return Check(name, what, "all", "no draws", None)
    found = f"{int(np.count_nonzero(kept))} of {kept.size}"
    return Check(name, what, "all", found, bool(kept.all()))


def _span(values: np.ndarray) -> str:
    return f"{values.min():.4g} to {values.max():.4g}"


def violations(checks: Sequence[Check]) -> list[Check]:
    """Promises that were broken."""
    return [one for one in checks if one.fine is False]
