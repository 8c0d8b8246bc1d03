"""`python -m sepexp report RUN...`: tables, verdicts and a page from runs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path


def main(arguments: list[str]) -> None:
    """Read the flags and report."""
    given = _parser().parse_args(arguments)
    from sepexp.errors import UserError
    from sepexp.report.arms import judge, verdict_table
    from sepexp.report.runs import open_runs
    from sepexp.report.table import runs_table
    from sepexp.report.text import writer

    if not given.runs and not given.survey:
        raise UserError("report needs at least one run folder, or --survey for published tables")
    records = open_runs(given.runs)
    write = writer(given.form)
    parts = []
    if records:
        parts.append(write(runs_table(records, given.metric)))
    if len(records) > 1:
        table, lines = verdict_table(judge(records, given.metric))
        mark = "% " if given.form == "latex" else ""  # sentences are no part of a LaTeX table
        parts += [write(table), "\n".join(mark + line for line in lines)]
    if given.survey:
        from sepexp.report.survey import survey_tables

        parts += [write(table) for table in survey_tables(records, parameters)]
    print("\n\n".join(part for part in parts if part))
    if given.export:
        from sepexp.report.export import export

        print(f"\nscores: {export(records, given.export)}")
    if given.page:
        from sepexp.report.page import write_page

        print(f"\npage: {write_page(records, given.page, songs=given.songs, metric=given.metric)}")


def parameters(settings: Mapping[str, str]) -> int | None:
    """Trainable parameters of our model with these overrides, counted without memory or time."""
    import torch

    from sepexp import build
    from sepexp.cli.compose import compose, conf_dir, plain

    if not (conf_dir() / "model" / f"{settings.get('model')}.yaml").is_file():
        return None
    with torch.device("meta"):
        model = build.model(plain(compose([f"{key}={value}" for key, value in settings.items()])))
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sepexp report",
        description="Tables of runs with their costs, and for every pair that differs in one "
        "setting the difference with an interval, in words.",
    )
    parser.add_argument(
        "runs", nargs="*", type=Path, metavar="RUN", help="run folders, or a sweep's folder"
    )
    parser.add_argument("--metric", default="SDR", help="which metric of scores.csv (SDR)")
    parser.add_argument(
        "--survey", action="store_true", help="the published tables beside our counts and scores"
    )
    parser.add_argument(
        "--page",
        type=Path,
        metavar="OUT",
        help="write a folder with a page: tables, figures, players",
    )
    parser.add_argument(
        "--songs", type=int, default=3, help="how many songs the page lets one listen to (3)"
    )
    parser.add_argument(
        "--export",
        type=Path,
        metavar="FILE",
        help="write every score of all runs as one long table, .csv or .parquet",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", dest="form", action="store_const", const="markdown")
    form.add_argument("--latex", dest="form", action="store_const", const="latex")
    parser.set_defaults(form="terminal")
    return parser
