"""Models at their published sizes against the reference classes of other packages, in one run.

    python benchmarks/models.py [--only demucs conv_tasnet ...] [--rounds 5] [--threads 2]

A training step is forward, backward and Adam; inference is one song or excerpt without gradients.
Both sides have the same weights, and each job a process of its own: its memory is the peak above
what lay there before (imports, weights), read from /proc, so on Linux only. The two sides take
turns, so that whatever else the machine does falls on both; times are medians of the rounds. The
table is Markdown; a ratio is theirs / ours, so above 1 ours is faster or smaller. Packages that
aren't installed are named and skipped (the extra `parity` has them).
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import importlib.util
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEMS = ["vocals", "drums", "bass", "other"]
Job = Callable[[], object]


class Contest(NamedTuple):
    """overrides: our config. make: their model. convert: their state -> ours.

    step, song: (batch, samples) of the training step and of the inference; None: none.
    """

    overrides: tuple[str, ...]
    package: str
    make: Callable[[], nn.Module]
    convert: Callable[[nn.Module], Mapping[str, Tensor]]
    step: tuple[int, int]
    song: tuple[int, int] | None
    rate: int = 44_100
    channels: int = 2
    targets: int = 4


def demucs() -> nn.Module:
    from demucs.model import Demucs

    return Demucs(STEMS, channels=64)


def music_tasnet() -> nn.Module:
    from demucs.tasnet import ConvTasNet

    return ConvTasNet(STEMS, X=10)


def torchaudios_tasnet() -> nn.Module:
    from torchaudio.models import conv_tasnet_base

    return conv_tasnet_base(num_sources=2)


def asteroids_tasnet() -> nn.Module:
    from asteroid.models import ConvTasNet

    return ConvTasNet(2, sample_rate=8000)


def open_unmix(stems: Sequence[str] = STEMS) -> nn.Module:
    from openunmix.model import OpenUnmix, Separator

    networks = {name: OpenUnmix(2049, 2, 512, 3, max_bin=1487) for name in stems}
    return Separator(networks, niter=1, n_fft=4096, n_hop=1024, wiener_win_len=300)


def demucs_weights(theirs: nn.Module) -> Mapping[str, Tensor]:
    return theirs.state_dict()  # the same names; both have the targets in one order here


def tasnet_weights(theirs: nn.Module) -> Mapping[str, Tensor]:
    from sepexp.weights.conv_tasnet import convert

    music = any(key.startswith("separator.") for key in theirs.state_dict())
    order = ["drums", "bass", "other", "vocals"]  # as theirs, so nothing is permuted
    return convert(theirs.state_dict(), channels=2 if music else 1, targets=order)


def open_unmix_weights(theirs: Any) -> Mapping[str, Tensor]:
    from sepexp.weights.open_unmix import convert

    states = {name: network.state_dict() for name, network in theirs.target_models.items()}
    return convert(states, list(states))


SPEECH = ("model=conv_tasnet_speech", "targets=[vocals,other]", "model.input_norm=gln")
TORCHAUDIO = ("model.edge_padding=true", "model.last_residual=false", "model.mask=relu")
SECOND = 44_100
SPOKEN: Any = {
    "step": (2, 4 * 8000),
    "song": (1, 30 * 8000),
    "rate": 8000,
    "channels": 1,
    "targets": 2,
}
CONTESTS = {
    "demucs": Contest(
        ("model=demucs",), "demucs", demucs, demucs_weights, (2, 2 * SECOND), (1, 10 * SECOND)
    ),
    "conv_tasnet": Contest(
        ("model=conv_tasnet",), "demucs", music_tasnet, tasnet_weights, (1, 88_200), (1, 220_500)
    ),
    "conv_tasnet_speech (torchaudio)": Contest(
        (*SPEECH, *TORCHAUDIO), "torchaudio", torchaudios_tasnet, tasnet_weights, **SPOKEN
    ),
    "conv_tasnet_speech (asteroid)": Contest(
        SPEECH, "asteroid", asteroids_tasnet, tasnet_weights, **SPOKEN
    ),
    "open_unmix, one target": Contest(  # as theirs is trained: a training for each target
        ("model=open_unmix", "targets=[vocals]"),
        "openunmix",
        partial(open_unmix, STEMS[:1]),
        open_unmix_weights,
        (4, 6 * SECOND),
        None,
        targets=1,
    ),
    "open_unmix": Contest(
        ("model=open_unmix",),
        "openunmix",
        open_unmix,
        open_unmix_weights,
        (4, 6 * SECOND),
        (1, 240 * SECOND),
    ),
}


def peer(contest: Contest) -> nn.Module:
    torch.manual_seed(0)
    return contest.make()


def ours(contest: Contest) -> nn.Module:
    from sepexp import build
    from sepexp.cli.compose import compose, plain

    model = build.model(plain(compose(contest.overrides)))
    model.load_state_dict(contest.convert(peer(contest)))
    return model


def waveforms(model: nn.Module, mixture: Tensor) -> Tensor:
    output = model(mixture)
    return output if isinstance(output, Tensor) else output.waveforms


def adam(model: nn.Module, side: str) -> torch.optim.Optimizer:
    """Ours as conf/optimizer/adam.yaml has it, theirs as their training scripts do: torch's."""
    if side == "theirs":
        return torch.optim.Adam(model.parameters(), lr=1e-5)
    from sepexp import build
    from sepexp.cli.compose import compose, plain

    config = plain(compose(["optimizer=adam", "optimizer.lr=1e-5"]))
    return build.instantiate(config["optimizer"])(model.parameters())


def train_on_waveforms(model: nn.Module, side: str, mixture: Tensor, truth: Tensor) -> Job:
    optimizer = adam(model, side)
    model.train()

    def step() -> None:
        optimizer.zero_grad()
        estimate = waveforms(model, mixture)
        wanted = truth[..., : estimate.shape[-1]]
        F.l1_loss(estimate, wanted.reshape(estimate.shape)).backward()
        optimizer.step()

    return step


def train_on_spectra(model: Any, side: str, mixture: Tensor, truth: Tensor) -> Job:
    """Open-Unmix: squared error of magnitudes; theirs knows one network of one target at a time."""
    if side == "ours":
        model.waveforms_in_training = False

        def losses() -> None:
            F.mse_loss(model(mixture).spectra, model.analyse(truth)).backward()
    else:
        from openunmix.transforms import ComplexNorm, make_filterbanks

        stft = make_filterbanks(n_fft=4096, n_hop=1024, sample_rate=44_100)[0]
        encoder = nn.Sequential(stft, ComplexNorm())

        def losses() -> None:
            for index, network in enumerate(model.target_models.values()):
                wanted = encoder(truth[:, index].contiguous())
                F.mse_loss(network(encoder(mixture)), wanted).backward()

    optimizer = adam(model, side)
    model.train()

    def step() -> None:
        optimizer.zero_grad()
        losses()
        optimizer.step()

    return step


def make_job(name: str, side: str, job: str, scale: float = 1.0) -> Job:
    contest = CONTESTS[name]
    model: Any = ours(contest) if side == "ours" else peer(contest)
    if side == "ours" and job == "training step":
        from sepexp.cli.experiment import keep_memory

        keep_memory()  # as our training does
    size = contest.step if job == "training step" else contest.song
    assert size is not None, "main leaves such jobs out"
    batch, samples = size[0], round(size[1] * scale)
    if hasattr(model, "valid_length"):
        samples = model.valid_length(samples)
    torch.manual_seed(1)
    truth = 0.1 * torch.randn(batch, contest.targets, contest.channels, samples)
    mixture = truth.sum(1)
    if job != "training step":
        model.eval()
        return torch.no_grad()(lambda: waveforms(model, mixture))
    if name.startswith("open_unmix"):
        return train_on_spectra(model, side, mixture, truth)
    return train_on_waveforms(model, side, mixture, truth)


def memory(field: str) -> float:
    """VmRSS or VmHWM of this process in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def work(name: str, side: str, job: str, scale: float) -> None:
    """A process of its own: once to warm up, then once for every line that comes in."""
    run = make_job(name, side, job, scale)
    # ours was made beside theirs, whose weights it took: from here on the peak counts anew
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    output = run()
    if isinstance(output, Tensor):  # some of it, so that the next run has the memory to itself
        output = output.flatten(0, -2)[0, ::997].tolist()
    run()
    print(json.dumps({"peak": memory("VmHWM") - before, "output": output}), flush=True)
    for _ in sys.stdin:
        began, used = time.perf_counter(), time.process_time()
        run()
        spent = {"wall": time.perf_counter() - began, "cpu": time.process_time() - used}
        print(json.dumps(spent), flush=True)


class Side:
    """A process that works for one side of a contest, and its times."""

    def __init__(self, name: str, side: str, job: str, options: list[str]) -> None:
        command = [sys.executable, __file__, "--work", name, side, job, *options]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started = self.read()
        self.peak: float = started["peak"]
        self.output: list[float] | None = started["output"]
        self.times: list[dict[str, float]] = []

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(map(str, self.process.args))} ended")
        return json.loads(line)

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        self.times.append(self.read())

    def median(self, clock: str) -> float:
        return statistics.median(spent[clock] for spent in self.times)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def compare(name: str, job: str, rounds: int, options: list[str]) -> str:
    """One row of the table."""
    sides = [Side(name, side, job, options) for side in ("ours", "theirs")]
    for index in range(rounds):
        for side in sides if index % 2 == 0 else reversed(sides):
            side.go()
    for side in sides:
        side.close()
    mine, theirs = sides
    ratios = [theirs.median(clock) / mine.median(clock) for clock in ("wall", "cpu")]
    error = "-"
    if mine.output is not None and theirs.output is not None:
        pairs = zip(mine.output, theirs.output, strict=False)
        error = f"{max((abs(a - b) for a, b in pairs), default=0):.0e}"
    cells = [name, job, f"{mine.median('wall'):.2f}", f"{theirs.median('wall'):.2f}"]
    cells += [f"{ratio:.2f}" for ratio in ratios]
    cells += [f"{mine.peak:.0f}", f"{theirs.peak:.0f}", f"{theirs.peak / mine.peak:.2f}", error]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(CONTESTS), default=list(CONTESTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scale", type=float, default=1.0, help="of all lengths")
    parser.add_argument("--jobs", nargs="+", default=["training step", "inference"])
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.work:
        work(*arguments.work, arguments.scale)
        return
    print(f"torch {torch.__version__}, {arguments.threads} threads, {arguments.rounds} rounds\n")
    print("| model | job | ours (s) | theirs (s) | ratio | ratio (CPU time) ", end="")
    print("| ours (MiB) | theirs (MiB) | ratio | largest difference |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    options = ["--threads", str(arguments.threads), "--scale", str(arguments.scale)]
    missing = set()
    for name in arguments.only:
        if not importlib.util.find_spec(CONTESTS[name].package):
            missing.add(CONTESTS[name].package)
            continue
        for job in arguments.jobs:
            if job != "training step" and CONTESTS[name].song is None:
                continue
            print(compare(name, job, arguments.rounds, options), flush=True)
    for package in sorted(missing):
        print(f"\n{package} isn't installed: its rows are left out (make parity installs it)")


if __name__ == "__main__":
    main()
