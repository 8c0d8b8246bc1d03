"""`python -m sepexp evaluate RUN`: score an existing run again."""

from __future__ import annotations

import argparse
from pathlib import Path


def main(arguments: list[str]) -> None:
    """Read the flags and score."""
    parser = argparse.ArgumentParser(
        prog="python -m sepexp evaluate",
        description="Score a run again: whole songs, beside the do-nothing rows and an oracle.",
    )
    parser.add_argument("run", type=Path, help="a run folder, such as runs/2026-01-31/12-00-00")
    parser.add_argument("--checkpoint", type=Path, help="another state than checkpoints/best.ckpt")
    parser.add_argument("--split", choices=["test", "valid"], default="test")
    parser.add_argument("--backend", choices=["sepexp", "museval"], help="who computes BSSEval v4")
    parser.add_argument(
        "--trust", action="append", default=[], metavar="PACKAGE",
        help="a package of your own that the checkpoint's model may come from",
    )  # fmt: skip
    given = parser.parse_args(arguments)
    from sepexp.cli.experiment import quiet
    from sepexp.cli.test import test_run
    from sepexp.run import open_run

    quiet()
    metric = {"backend": given.backend} if given.backend else {}
    test_run(
        open_run(given.run),
        checkpoint=given.checkpoint,
        split=given.split,
        metric=metric,
        trust=given.trust,
    )
