"""The survey's published tables beside our own counts and, where runs exist, our own scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from sepexp.report.published import (
    ABLATION,
    ABLATION_NOTES,
    METHOD_NOTES,
    METHODS,
    SIZE_NOTES,
    SIZES,
)
from sepexp.report.runs import RunRecord
from sepexp.report.scores import ALL, finite_mean, summary
from sepexp.report.text import Table, both, count, number

Count = Callable[[Mapping[str, str]], int | None]
OWN = (
    "Our scores are median / mean over tracks, averaged over seeds, with the data's name and the "
    "number of seeds; they can be set beside the published ones only where the data is MUSDB18."
)


def survey_tables(records: Sequence[RunRecord], size: Count) -> list[Table]:
    """The three tables.

    Args:
        records: Runs to look for our own scores in.
        size: Trainable parameters of our model with given overrides; None where there is none.
    """
    return [ablation(records, size), methods(records), sizes(records, size)]


def ablation(records: Sequence[RunRecord], size: Count) -> Table:
    """The ablation of Demucs."""
    rows = [
        [
            row.name, *map(number, row.scores), str(row.seeds), row.valid_loss,
            count(size(row.settings)), own_score(records, row.settings),
        ]
        for row in ABLATION
    ]  # fmt: skip
    columns = ["Demucs", "drums", "bass", "other", "vocals", "all", "seeds", "valid loss"]
    notes = [*ABLATION_NOTES, *(f"{row.name}: {row.doubt}." for row in ABLATION if row.doubt), OWN]
    return Table("Ablation of Demucs, published", [*columns, "our params", "our SDR"], rows, notes)


def methods(records: Sequence[RunRecord]) -> Table:
    """Domain, extra data, SDR and listening tests."""
    rows = [
        [
            row.name, row.domain, row.extra, number(row.sdr, 1), number(row.quality, 1),
            number(row.contamination, 1), own_score(records, row.settings),
        ]
        for row in METHODS
    ]  # fmt: skip
    columns = ["method", "domain", "extra data", "SDR", "MOS quality", "MOS contamination"]
    notes = [*METHOD_NOTES, *(f"{row.name}: {row.doubt}." for row in METHODS if row.doubt), OWN]
    return Table("Domain, data and listening tests, published", [*columns, "our SDR"], rows, notes)


def sizes(records: Sequence[RunRecord], size: Count) -> Table:
    """Parameters and SDR by source, from the oracle to Sams-Net."""
    rows = [
        [
            row.name, row.parameters, count(size(row.settings)), *map(number, row.scores),
            own_score(records, row.settings),
        ]
        for row in SIZES
    ]  # fmt: skip
    columns = ["method", "params", "our params", "vocals", "drums", "bass", "other", "average"]
    notes = [*SIZE_NOTES, *(f"{row.name}: {row.doubt}." for row in SIZES if row.doubt), OWN]
    return Table("Sizes and SDR by source, published", [*columns, "our SDR"], rows, notes)


def own_score(records: Sequence[RunRecord], settings: Mapping[str, str]) -> str:
    """Our runs of these settings: their overall SDR, data and seeds; a dash without one."""
    if not settings:
        return "–"
    system = settings.get("row", "model")
    found: dict[str, list[tuple[float, float, str]]] = {}
    for record in records:
        if record.has_scores and (system != "model" or is_run_of(record, settings)):
            scored = _overall(record, system)
            if scored is not None:
                name = f"{record.data or 'unknown data'}{' (!)' if record.stamped else ''}"
                found.setdefault(name, []).append((*scored, str(record.seed)))
    cells = []
    for data, scores in found.items():
        median = finite_mean(score[0] for score in scores)
        mean = finite_mean(score[1] for score in scores)
        seeds = len({score[2] for score in scores})
        counted = "" if system != "model" else f", {seeds} seed{'s' if seeds > 1 else ''}"
        cells.append(f"{both(median, mean)} ({data}{counted})")
    return "; ".join(cells) or "–"


def is_run_of(record: RunRecord, settings: Mapping[str, str]) -> bool:
    """Whether a run chose just these settings of model, loss and learning rate.

    A recipe `experiments=survey/NAME` stands for `model=NAME`.
    """
    looked_at = ("model", "loss", "optimizer")
    chosen = {k: v for k, v in record.choices.items() if k.partition(".")[0] in looked_at}
    recipe = record.choices.get("experiments", "")
    if recipe.startswith("survey/"):
        chosen = {"model": recipe.removeprefix("survey/")} | chosen
    elif recipe:
        return False
    return {k: _plain(v) for k, v in chosen.items()} == {k: _plain(v) for k, v in settings.items()}


def _overall(record: RunRecord, system: str) -> tuple[float, float] | None:
    cells = {c.source: c for c in summary(record.scores, ["SDR"]) if c.system == system}
    cell = cells.get(ALL) or next(iter(cells.values()), None)
    return (cell.median, cell.mean) if cell and math.isfinite(cell.mean) else None


def _plain(value: str) -> str:
    """5e-4 and 0.0005 are one number, False and false one truth."""
    try:
        return repr(float(value))
    except ValueError:
        return value.lower()
