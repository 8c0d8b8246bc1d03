"""Seconds of computing that the regression Wavenet needs for a second of music, by field length.

    python experiments/wavenet_field/measure.py [--threads N] [--rounds 3]

Prints a Markdown table. The published network (16 kHz, mono, 3.28 M parameters) estimates a field
of samples at once and reads 4092 more on each side of it, so longer fields compute less twice.
"""

from __future__ import annotations

import argparse
import time

import torch

from sepexp import build
from sepexp.cli.compose import compose, plain
from sepexp.model.wavenet import Wavenet

FIELDS = (401, 801, 1601, 3201, 6401, 16000, 48000)  # samples
PUBLISHED = {1601: "0.56 s (hardware not said)"}


@torch.no_grad()
def seconds_a_field(model: Wavenet, field: int, rounds: int) -> tuple[float, float]:
    """Elapsed and processor time for one field, each the best of a few; the first warms up."""
    mixture = 0.1 * torch.randn(1, model.channels, field + 2 * model.context)
    elapsed, worked = [], []
    for _ in range(rounds + 1):
        began, busy = time.perf_counter(), time.process_time()
        model(mixture)
        elapsed.append(time.perf_counter() - began)
        worked.append(time.process_time() - busy)
    return min(elapsed[1:]), min(worked[1:])


def main() -> None:
    """Time every field length and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, help="of torch; all cores by default")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    model = build.model(plain(compose(["model=wavenet"]))).eval()
    assert isinstance(model, Wavenet)
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, a field at a time\n")
    print(
        "| target field (samples) | read for it | time for a second of music | published |", end=""
    )
    print(" processor time, all cores |\n|---:|---:|---:|---|---:|")
    for field in FIELDS:
        fields = model.sample_rate / field  # in a second
        elapsed, worked = (fields * t for t in seconds_a_field(model, field, given.rounds))
        cells = [field, field + 2 * model.context, f"{elapsed:.2f} s", PUBLISHED.get(field, "")]
        print(f"| {' | '.join(map(str, cells))} | {worked:.2f} s |", flush=True)


if __name__ == "__main__":
    main()
