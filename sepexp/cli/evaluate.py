"""`python -m sepexp evaluate RUN`: score an existing run again, or measure its tones."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def main(arguments: list[str]) -> None:
    """Read the flags and score."""
    if "--tones" in arguments:  # other words may follow than a run: configs to compare
        from sepexp.cli.tones import main as tones

        tones([argument for argument in arguments if argument != "--tones"])
        return
    parser = argparse.ArgumentParser(
        prog="python -m sepexp evaluate",
        description="Score a run again: whole songs, beside the do-nothing rows and an oracle.",
    )
    # fmt: off
    parser.add_argument("run", type=Path, help="a run folder, such as runs/2026-01-31/12-00-00")
    parser.add_argument("--checkpoint", type=Path, help="another state than checkpoints/best.ckpt")
    parser.add_argument("--split", choices=["test", "valid"], default="test")
    parser.add_argument("--backend", choices=["sepexp", "museval"], help="who computes BSSEval v4")
    parser.add_argument(
        "--scores", nargs="+", metavar="NAME",
        help="more scores: SI-SDR, bleedless, fullness, log_wmse, NSDR, leak ..., or all",
    )
    parser.add_argument(
        "--rows", choices=["run", "oracles", "all"], default="run",
        help="run: the rows of the run's config; oracles: IBM, IRM1, IRM2, MWF and cIRM too; all: "
        "and the true magnitude with three phases",
    )
    parser.add_argument(
        "--trust", action="append", default=[], metavar="PACKAGE",
        help="a package of your own that the checkpoint's model may come from",
    )
    parser.add_argument(
        "--tones", action="store_true",
        help="measure instead the tones that upsampling makes, of runs and untrained configs; "
        "evaluate --tones --help says more",
    )
    # fmt: on
    given = parser.parse_args(arguments)
    from sepexp.cli.experiment import quiet
    from sepexp.cli.test import test_run
    from sepexp.run import open_run

    quiet()
    metric = {"backend": given.backend} if given.backend else {}
    metric |= {"scores": given.scores} if given.scores else {}
    test_run(
        open_run(given.run),
        checkpoint=given.checkpoint,
        split=given.split,
        metric=metric,
        rows=_rows(given.rows),
        trust=given.trust,
    )


def _rows(which: str) -> dict[str, Any]:
    """Rows that stand in every table beside those of the run's config."""
    from sepexp.baseline.rows import floors, oracles, phases

    if which == "run":
        return {}
    return {**floors(), **oracles(), **(phases() if which == "all" else {})}
