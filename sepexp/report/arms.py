"""Which runs may be compared: arms of equal settings, pairs that differ in one of them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from sepexp.metric.card import lower_is_better, unit
from sepexp.report.runs import RunRecord, plain_value
from sepexp.report.scores import by_track
from sepexp.report.text import Table, number
from sepexp.report.verdicts import LEVEL, POWER, Comparison, compare, holm, words


class Arm(NamedTuple):
    """Runs of equal settings that differ in their seeds."""

    runs: list[RunRecord]

    @property
    def label(self) -> str:
        """Its name where no setting tells it apart."""
        return self.runs[0].label


class Pair(NamedTuple):
    """Two arms that differ in one setting, compared.

    name: the setting and both its values. lost: songs and sources left out, with the reason.
    """

    name: str
    first: Arm
    second: Arm
    found: Comparison
    lost: list[str]


class Verdicts(NamedTuple):
    """All pairs of a report and what has to be said about them."""

    pairs: list[Pair]
    notes: list[str]
    metric: str = "SDR"


def arms(records: Sequence[RunRecord]) -> tuple[list[Arm], list[str]]:
    """Group tested runs by their settings; a repeated seed is no second witness and is named."""
    groups: dict[str, dict[str, RunRecord]] = {}
    notes = []
    for record in records:
        if not record.has_scores:
            notes.append(f"{record.label} was not tested ({record.passport.get('status', '?')}).")
            continue
        group = groups.setdefault(json.dumps(record.settings, sort_keys=True), {})
        earlier = group.setdefault(str(record.seed), record)
        if earlier is not record:
            notes.append(
                f"{record.label} repeats {earlier.label} (same settings, same seed): left out."
            )
    return [Arm(list(group.values())) for group in groups.values()], notes


def one_setting(first: RunRecord, second: RunRecord) -> str | None:
    """The only setting in which two runs differ, with both values; None where there are more.

    A choice of a whole group (model=demucs) is one setting, whatever it brings along.
    """
    mine, other = first.settings, second.settings
    keys = [k for k in dict.fromkeys([*mine, *other]) if mine.get(k) != other.get(k)]
    if len(keys) == 1:
        return _named(keys[0], plain_value(mine.get(keys[0])), plain_value(other.get(keys[0])))
    groups = {key.partition(".")[0] for key in keys}
    choices = {
        key
        for key in {*first.choices, *second.choices}
        if first.choices.get(key) != second.choices.get(key)
    }
    if len(choices) == 1 and choices != {"experiments"}:
        key = choices.pop()
        return _named(key, first.choices.get(key, "default"), second.choices.get(key, "default"))
    targets = [key for key in keys if key.endswith("._target_")]
    if len(groups) == 1 and f"{min(groups)}._target_" in targets:
        key = f"{min(groups)}._target_"
        return _named(min(groups), plain_value(mine.get(key)), plain_value(other.get(key)))
    return None


def judge(records: Sequence[RunRecord], metric: str = "SDR") -> Verdicts:
    """Compare every pair of arms that differs in one setting."""
    found, notes = arms(records)
    pairs, skipped = [], 0
    for first, second in combinations(found, 2):
        name = one_setting(first.runs[0], second.runs[0])
        if name is None:
            skipped += 1
            continue
        if _songs(first) != _songs(second):
            notes.append(f"{name}: tested on different songs, not compared.")
            continue
        mine, other, lost = matched(first, second, metric)
        if mine.shape[1] == 0:
            notes.append(f"{name}: no track in common, not compared.")
            continue
        pairs.append(Pair(name, first, second, compare(mine, other), lost))
    if skipped:
        notes.append(f"{skipped} pairs of arms differ in more than one setting: not compared.")
    notes += [record.stamped for record in records if record.stamped]
    return Verdicts(pairs, notes, metric)


def matched(first: Arm, second: Arm, metric: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Both arms' scores on what all their runs have, and what was left out.

    A track's score is the mean over the sources that are finite in every run of both arms.

    Shape:
        returns: (seeds, tracks) twice, and sentences.
    """
    runs = [*first.runs, *second.runs]
    tables = [_model_table(run, metric) for run in runs]
    everything = list(dict.fromkeys(key for table in tables for key in table))
    kept: dict[str, list[str]] = {}
    lost = []
    for track, source in everything:
        values = [table.get((track, source)) for table in tables]
        finite = [value is not None and math.isfinite(value) for value in values]
        if all(finite):
            kept.setdefault(track, []).append(source)
        elif any(finite) or any(value is None for value in values):
            lacking = [run.label for run, there in zip(runs, finite, strict=True) if not there]
            lost.append(f"{source} of {track} (missing in {', '.join(lacking)})")
        else:
            lost.append(f"{source} of {track} (silent)")
    matrix = np.array(
        [[np.mean([table[t, s] for s in names]) for t, names in kept.items()] for table in tables]
    ).reshape(len(runs), len(kept))
    return matrix[: len(first.runs)], matrix[len(first.runs) :], lost


def verdict_table(verdicts: Verdicts) -> tuple[Table, list[str]]:
    """The comparisons as a table, and as sentences."""
    pairs = verdicts.pairs
    family = [pair for pair in pairs if not pair.found.of_checkpoints]
    adjusted = dict(zip(map(id, family), holm([pair.found.p for pair in family]), strict=True))
    columns = ["setting", "difference", "interval", "median", "seeds", "tracks", "p (Holm)"]
    rows, lines, notes = [], [], list(verdicts.notes)
    for pair in pairs:
        found = pair.found
        p = adjusted.get(id(pair), math.nan)
        rows.append([
            pair.name, f"{found.difference:+.2f}",
            f"{number(found.low)} to {number(found.high)}", f"{found.median:+.2f}",
            f"{found.seeds[0]}, {found.seeds[1]}", str(found.tracks),
            number(p, 3), "–" if found.of_checkpoints else number(found.detectable),
        ])  # fmt: skip
        lower = lower_is_better(verdicts.metric)
        size = unit(verdicts.metric)
        lines.append(words(pair.name, found, p, len(family), unit=size, lower_is_better=lower))
        if pair.lost:
            notes.append(f"{pair.name}: left out {'; '.join(pair.lost)}.")
    notes.insert(0, _explained(family, pairs, unit(verdicts.metric)))
    size = f" in {unit(verdicts.metric)}" if unit(verdicts.metric) else ""
    title = f"Differences of {verdicts.metric}{size} (mean over tracks, first minus second)"
    return Table(title, [*columns, "detectable"], rows, notes), lines


def _explained(family: list[Pair], pairs: list[Pair], size: str) -> str:
    if not pairs:
        return "No two arms differ in exactly one setting: nothing to compare."
    text = f"Intervals at {LEVEL:.0%} over seeds and tracks"
    if len(family) < len(pairs):
        text += "; where an arm has one seed, over tracks alone"
    if family:
        worst = max(pair.found.detectable for pair in family)
        text += (
            f". These seeds and tracks could have shown {' '.join([number(worst), size]).strip()} "
            f"in every pair (detectable: found with probability {POWER:.0%})"
        )
    return text + "."


def _model_table(run: RunRecord, metric: str) -> dict[tuple[str, str], float]:
    return {
        (track, source): value
        for (_, system, source), tracks in by_track(run.scores, metric).items()
        if system == "model" and source != "all"
        for track, value in tracks.items()
    }


def _songs(arm: Arm) -> str:
    prints = {json.dumps(run.test_fingerprint, sort_keys=True) for run in arm.runs}
    return "|".join(sorted(prints))


def _named(key: str, first: str, second: str) -> str:
    return f"{key.removesuffix('._target_')} {first} against {second}"
