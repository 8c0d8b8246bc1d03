"""How loud an untrained Demucs answers, with and without rescaled initial weights.

    python experiments/demucs_ablation/initialisation.py [OVERRIDE ...] [--seeds 3]

The published network by default (version 1, 64 channels); `model=demucs_100` is the one with 100,
which needs 6 GB. Prints a Markdown table for white noise and for a song that sepexp makes itself:
the deviation of the outputs over that of the input, and the same of what the input changes in
them (outputs minus those for silence), because initial biases alone make tones.
"""

from __future__ import annotations

import argparse
import math
import statistics
from typing import NamedTuple

import torch
from torch import Tensor

from sepexp import build
from sepexp.cli.compose import compose, plain
from sepexp.data.demo import render_song
from sepexp.model.demucs import Demucs, rescale_convolutions

PUBLISHED = ["model=demucs", "model.resample=false"]
SECONDS = 2.0


class Level(NamedTuple):
    """Deviation of the outputs over the input's: of all of it, and of what the input changes."""

    output: float
    answer: float


@torch.no_grad()
def level(model: Demucs, mixture: Tensor) -> Level:
    """How loud the estimates of a mixture are.

    Shape:
        mixture (batch, channels, samples + 2 * context).
    """
    heard = mixture[..., model.context : mixture.shape[-1] - model.context].std()
    output = model(mixture).waveforms
    answer = output - model(torch.zeros_like(mixture)).waveforms
    return Level((output.std() / heard).item(), (answer.std() / heard).item())


def levels(
    overrides: list[str], seed: int, mixtures: dict[str, Tensor]
) -> dict[str, tuple[Level, Level]]:
    """Mixture -> its level without and with rescaling of the very same initial weights."""
    config = plain(compose([*overrides, "model.rescale=0"]))
    torch.manual_seed(seed)
    model = build.model(config).eval()
    without = {name: level(model, mixture) for name, mixture in mixtures.items()}
    rescale_convolutions(model, plain(compose(overrides))["model"]["rescale"])
    return {name: (without[name], level(model, mixture)) for name, mixture in mixtures.items()}


def signals(model: Demucs, seconds: float) -> dict[str, Tensor]:
    """White noise of deviation 1 and a song at its own level, with what the model reads around."""
    samples = round(seconds * model.sample_rate) + 2 * model.context
    noise = torch.randn(1, model.channels, samples, generator=torch.Generator().manual_seed(0))
    stems = render_song(1, math.ceil(samples / model.sample_rate), model.sample_rate)
    song = sum(torch.from_numpy(stem).float() for stem in stems.values()) / 2**15
    return {"white noise": noise, "demo song": song[None, : model.channels, :samples]}


def main() -> None:
    """Measure some initialisations and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("overrides", nargs="*", default=PUBLISHED, metavar="OVERRIDE")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    with torch.device("meta"):
        sizes = build.model(plain(compose(given.overrides)))
    mixtures = signals(sizes, SECONDS)
    found = [levels(given.overrides, seed, mixtures) for seed in range(1, given.seeds + 1)]
    print(f"Times quieter than the input, `{' '.join(given.overrides)}`, {given.seeds} seeds\n")
    print("| input | part | without rescaling | with rescaling |\n|---|---|---:|---:|")
    for name in mixtures:
        for part in Level._fields:
            cells = [_cell([getattr(one[name][arm], part) for one in found]) for arm in (0, 1)]
            print(f"| {name} | {part} | {cells[0]} | {cells[1]} |")


def _cell(ratios: list[float]) -> str:
    times = sorted(1 / ratio for ratio in ratios)
    return f"{statistics.median(times):.1f} ({times[0]:.1f} to {times[-1]:.1f})"


if __name__ == "__main__":
    main()
