"""A study's table, verdicts and figure from its sweep.

    python experiments/study.py SWEEP... --choice experiments/mrcae_lengths/arm [--figure FILE]

Prints Markdown: for every metric the arms with their seeds folded, the rows that need no training,
and the report's verdict on every pair.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sepexp.errors import UserError
from sepexp.plot import boxes_figure, save
from sepexp.report.runs import open_runs
from sepexp.report.study import arms_table, track_means, verdicts
from sepexp.report.text import markdown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="the sweep's folder, or run folders")
    parser.add_argument("--choice", required=True, help="the key whose values are the arms")
    parser.add_argument("--metrics", nargs="+", default=["SDR"])
    parser.add_argument("--figure", type=Path, help="boxes over tracks of the first metric")
    given = parser.parse_args()
    try:
        records = open_runs(given.runs)
        for metric in given.metrics:
            print(markdown(arms_table(records, given.choice, metric)), end="\n\n")
            print("\n".join(f"* {line}" for line in verdicts(records, metric)), end="\n\n")
        if given.figure:
            values = track_means(records, given.choice, given.metrics[0])
            save(boxes_figure(values, y_label=f"{given.metrics[0]} (dB)"), given.figure)
    except UserError as error:
        sys.exit(f"study: {error}")


if __name__ == "__main__":
    main()
