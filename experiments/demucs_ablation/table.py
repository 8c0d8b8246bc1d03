"""The ablation's table and figure from its sweep: both of the survey's columns beside its rows.

    python experiments/demucs_ablation/table.py runs/2026-01-31/12-00-00_sweep

Prints Markdown, and writes ablation.png beside this file or where --figure says. The verdicts
themselves are `python -m sepexp report SWEEP`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sepexp.errors import UserError
from sepexp.plot import boxes_figure, save
from sepexp.report.arms import Pair, Verdicts, judge, verdict_table
from sepexp.report.published import ABLATION
from sepexp.report.runs import RunRecord, open_runs, read_curves
from sepexp.report.scores import ALL
from sepexp.report.study import MODEL, means, track_means
from sepexp.report.text import Table, markdown, number

CHOICE = "experiments/demucs_ablation/arm"
PUBLISHED = {  # our arm -> the row's name in the published table
    "reference": "reference, 100 channels",
    "no_rescaling": "no initial weight rescaling",
    "no_bilstm": "no BiLSTM",
    "relu": "ReLU instead of GLU",
    "mse": "MSE loss",
}


class Row(NamedTuple):
    """One arm: best validation L1 and test SDR (mean over tracks), of each seed."""

    arm: str
    valid: list[float]
    sdr: list[float]


def arm_of(record: RunRecord) -> str:
    """The arm's name in the sweep's own overrides."""
    return record.choices.get(CHOICE, "reference")


def rows(records: Sequence[RunRecord]) -> list[Row]:
    """The arms in the published order, the reference first."""
    found = []
    for arm in PUBLISHED:
        runs = [record for record in records if arm_of(record) == arm and record.has_scores]
        if runs:
            sdr = [means(run, "SDR")[MODEL][ALL] for run in runs]
            found.append(Row(arm, [best_l1(run) for run in runs], sdr))
    if not found or found[0].arm != "reference":
        raise UserError("these runs hold no tested reference arm: name the sweep's folder")
    return found


def best_l1(record: RunRecord) -> float:
    """The lowest validation L1 of a run: that of the tested state."""
    _, values = read_curves(record.folder / "metrics.csv").get("valid/l1", ([], []))
    if not values:
        raise UserError(f"{record.folder} has no validation L1 in its metrics.csv")
    return min(values)


def against_reference(pairs: Sequence[Pair]) -> dict[str, tuple[Pair, float]]:
    """Arm -> its comparison with the reference and the sign that makes it arm minus reference."""
    found = {}
    for pair in pairs:
        first, second = (arm_of(side.runs[0]) for side in (pair.first, pair.second))
        if second == "reference":
            found[first] = (pair, 1.0)
        elif first == "reference":
            found[second] = (pair, -1.0)
    return found


def ablation_table(records: Sequence[RunRecord]) -> Table:
    """Our arms beside the published rows, with the direction of each difference."""
    published = {row.name: row for row in ABLATION}
    base = published[PUBLISHED["reference"]].scores[-1]
    compared = against_reference(judge(records).pairs)
    lines, detectable = [], []
    for row in rows(records):
        theirs = published[PUBLISHED[row.arm]]
        change = theirs.scores[-1] - base
        line = [theirs.name.removesuffix(", 100 channels"), str(len(row.sdr))]
        line += [_range(row.valid, 5), _range(row.sdr, 2)]
        if row.arm in compared:
            pair, sign = compared[row.arm]
            ours = sign * pair.found.difference
            ends = sorted((sign * pair.found.low, sign * pair.found.high))
            detectable.append(pair.found.detectable)
            line += [f"{ours:+.2f} ({ends[0]:+.2f} to {ends[1]:+.2f})"]
            line += [_direction(ours, change, ends)]
        else:
            line += ["–", "–"]
        line += [theirs.valid_loss, number(theirs.scores[-1])]
        lines.append([*line, "–" if row.arm == "reference" else f"{change:+.2f}"])
    columns = ["arm", "seeds", "validation L1", "test SDR", "difference (95 %)", "direction",
               "published loss", "published SDR", "published difference"]  # fmt: skip
    notes = [
        "Ours: mean over seeds (lowest to highest); SDR in dB, median over frames, mean over "
        "tracks and sources. Published: arXiv 1911.13254v1, 100 channels on MUSDB18, median over "
        "tracks, one seed but for the reference (five); MSE's loss there is an MSE.",
    ]
    if detectable:
        notes.append(
            f"A true difference of {number(max(detectable))} dB would have been found in every "
            "comparison with a probability of 80 %."
        )
    return Table("Demucs ablation", columns, lines, notes)


def verdicts(records: Sequence[RunRecord]) -> list[str]:
    """The report's sentences on every arm against the reference, corrected for these alone."""
    judged = judge(records)
    pairs = [pair for pair, _ in against_reference(judged.pairs).values()]
    return verdict_table(Verdicts(pairs, judged.notes))[1]


def _range(values: Sequence[float], digits: int) -> str:
    low, high = number(min(values), digits), number(max(values), digits)
    return f"{number(statistics.mean(values), digits)} ({low} to {high})"


def _direction(ours: float, theirs: float, ends: Sequence[float]) -> str:
    """Whether the sign agrees, and whether ours is more than chance."""
    agrees = "as published" if ours * theirs > 0 else "other way"
    return agrees if ends[0] > 0 or ends[1] < 0 else f"{agrees}, within chance"


def main() -> None:
    """Print the table and write the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="the sweep's folder, or run folders")
    parser.add_argument("--figure", type=Path, default=Path(__file__).with_name("ablation.png"))
    given = parser.parse_args()
    order = list(PUBLISHED)
    records = [record for record in open_runs(given.runs) if arm_of(record) in order]
    records.sort(key=lambda record: order.index(arm_of(record)))
    print(markdown(ablation_table(records)))
    print("\n" + "\n".join(f"* {line}" for line in verdicts(records)))
    save(boxes_figure(track_means(records, CHOICE, "SDR"), title="Demucs ablation"), given.figure)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"table: {error}")
