"""The long table of several runs in one file, CSV or Parquet, for other people's tools."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from sepexp.errors import UserError
from sepexp.report.runs import RunRecord
from sepexp.report.scores import COLUMNS
from sepexp.run import write_text


def export(records: Sequence[RunRecord], path: Path) -> Path:
    """Write every score of every run: run, system, track, source, metric, frame, value.

    The runs carry the labels of the tables. In CSV a number about a whole track has an empty frame
    and a missing value is nan; in Parquet the frame is null and the value NaN.

    Raises:
        UserError: Another ending than .csv or .parquet, no scores, or Parquet without pyarrow.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise UserError(f"{path} should end in .csv or .parquet, which says how it is written")
    tested = [record for record in records if record.has_scores]
    if not tested:
        raise UserError("none of these runs was tested, so there are no scores to export")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        _write_parquet(path, tested)
        return path
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_rows(tested))
    write_text(path, text.getvalue())
    return path


def _rows(records: Sequence[RunRecord]) -> Iterator[list[str]]:
    for record in records:
        scores = record.folder / "scores.csv"
        if not record.scores:  # reading it refuses a damaged table
            continue
        with scores.open(newline="") as file:
            lines = csv.reader(file)
            next(lines)
            yield from ([record.label, *line[1:]] for line in lines)


def _write_parquet(path: Path, records: Sequence[RunRecord]) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UserError(
            "Parquet needs the extra 'parquet': pip install 'sepexp[parquet]', or write .csv"
        ) from None
    *names, frames, values = zip(*_rows(records), strict=True)
    arrays = [pyarrow.array(column, pyarrow.string()) for column in names]
    numbers = [int(frame) if frame else None for frame in frames]
    arrays.append(pyarrow.array(numbers, pyarrow.int32()))
    arrays.append(pyarrow.array([float(value) for value in values], pyarrow.float64()))
    table = pyarrow.table(arrays, names=list(COLUMNS))
    aside = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        parquet.write_table(table, aside, compression="zstd")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
