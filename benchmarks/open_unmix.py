"""Open-Unmix at its published size: ours against the package openunmix, the same weights in both.

A training step on all four targets (spectra of mixture and targets included) and the separation of
a whole song with one iteration of the Wiener filter, in wall seconds, best of interleaved rounds;
peak memory of each in a process of its own. Without the package only ours is timed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from sepexp import build
from sepexp.cli.compose import compose, plain
from sepexp.weights.open_unmix import convert

NAMES = ["vocals", "drums", "bass", "other"]
RATE = 44100
Job = Callable[[], object]


def ours(theirs_states: dict[str, dict[str, Tensor]] | None) -> torch.nn.Module:
    model = build.model(plain(compose(["model=open_unmix"])))
    if theirs_states is not None:
        model.load_state_dict(convert(theirs_states, NAMES))
    return model


def theirs() -> torch.nn.Module:
    from openunmix.model import OpenUnmix, Separator

    torch.manual_seed(0)
    networks = {n: OpenUnmix(2049, 2, 512, 3, max_bin=1487) for n in NAMES}
    return Separator(networks, niter=1, n_fft=4096, n_hop=1024, wiener_win_len=300)


def our_jobs(model: torch.nn.Module, chunk: Tensor, targets: Tensor, song: Tensor) -> list[Job]:
    model.waveforms_in_training = False
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

    def step() -> None:
        model.train()
        optimizer.zero_grad()
        loss = (model(chunk).spectra - model.analyse(targets)).square().mean()
        loss.backward()
        optimizer.step()

    def separate() -> Tensor:
        with torch.no_grad():
            return model.eval()(song).waveforms

    return [step, separate]


def their_jobs(model: torch.nn.Module, chunk: Tensor, targets: Tensor, song: Tensor) -> list[Job]:
    from openunmix.transforms import ComplexNorm, make_filterbanks

    encoder = torch.nn.Sequential(
        make_filterbanks(n_fft=4096, n_hop=1024, sample_rate=RATE)[0], ComplexNorm()
    )
    optimizer = torch.optim.Adam(model.target_models.parameters(), lr=1e-4)

    def step() -> None:
        model.train()
        optimizer.zero_grad()
        for index, network in enumerate(model.target_models.values()):
            estimate = network(encoder(chunk))  # each target is a training of its own there
            truth = encoder(targets[:, index].contiguous())
            torch.nn.functional.mse_loss(estimate, truth).backward()
        optimizer.step()

    def separate() -> Tensor:
        with torch.no_grad():
            return model.eval()(song)

    return [step, separate]


def jobs(which: str, seconds: float, batch: int) -> list[Job]:
    torch.manual_seed(1)
    targets = 0.1 * torch.randn(batch, 4, 2, 6 * RATE)
    song = 0.1 * torch.randn(1, 2, int(seconds * RATE))
    if which == "openunmix":
        return their_jobs(theirs(), targets.sum(1), targets, song)
    states = None
    if importlib.util.find_spec("openunmix"):
        states = {n: m.state_dict() for n, m in theirs().target_models.items()}
    return our_jobs(ours(states), targets.sum(1), targets, song)


def peak(which: str, job: int, arguments: argparse.Namespace) -> float:
    """MiB of a fresh process that does one job once."""
    command = [sys.executable, __file__, "--alone", which, str(job), "--threads"]
    command += [str(arguments.threads), "--seconds", str(arguments.seconds), "--batch"]
    done = subprocess.run(
        [*command, str(arguments.batch)], capture_output=True, text=True, check=True
    )
    return float(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=240.0, help="of the song")
    parser.add_argument("--batch", type=int, default=4, help="chunks of 6 s in a training step")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--alone", nargs=2, metavar=("WHICH", "JOB"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.alone:
        which, job = arguments.alone
        jobs(which, arguments.seconds, arguments.batch)[int(job)]()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    rows = ["sepexp"] + (["openunmix"] if importlib.util.find_spec("openunmix") else [])
    work = {row: jobs(row, arguments.seconds, arguments.batch) for row in rows}
    if len(rows) == 2:
        first, second = (work[row][1]() for row in rows)
        print(f"largest difference of the two separations: {(first - second).abs().max():.1e}")
    best: dict[tuple[str, int], float] = {}
    for _ in range(arguments.rounds):
        for row in rows:
            for job in range(2):
                began = time.perf_counter()
                work[row][job]()
                spent = time.perf_counter() - began
                best[row, job] = min(spent, best.get((row, job), spent))
    print("             step (s)  separation (s)  peak of a step (MiB)  of a separation (MiB)")
    for row in rows:
        memory = [peak(row, job, arguments) for job in range(2)]
        print(
            f"{row:12} {best[row, 0]:8.2f} {best[row, 1]:15.2f} {memory[0]:21.0f} {memory[1]:22.0f}"
        )


if __name__ == "__main__":
    main()
