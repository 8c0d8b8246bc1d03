"""Can a model learn one excerpt by heart? SDR after training on 6 s alone, beside what bounds it.

    python benchmarks/overfit.py SONGS u_net_channels_small complex_mapping_small,l1 ...

SONGS holds train/<song>/<stem>.flac or .wav, or <song>/... Each further word is a config of
conf/model, a loss after a comma (spectra_mse where none is given) and overrides after further ones.
The excerpt is the one in which every stem sounds and whose worst stem is told apart best by true
magnitudes with the mixture's phase: the easiest for a mask, chosen so that the bound lies high.
That bound is printed, because no magnitude model with the mixture's phase can pass it; complex
and waveform models can. SDR is that of the whole excerpt, both channels together.
"""

from __future__ import annotations

import argparse
import logging
import re
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from sepexp import build
from sepexp.audio import read
from sepexp.baseline.masks import IRM
from sepexp.cli.compose import compose, plain
from sepexp.data.batch import Batch
from sepexp.dsp.stft import STFT
from sepexp.dsp.wiener import wiener
from sepexp.inference import separate
from sepexp.metric.sdr import framewise_sdr
from sepexp.separator import Separator

STEMS = ("vocals", "drums", "bass", "other")
RATE = 44_100
QUIET = 1e-2  # RMS below which a stem doesn't count as sounding: -40 dB


class Excerpt(NamedTuple):
    """stems: (sources, channels, samples)."""

    song: str
    start: int
    stems: Tensor


def sdr(truth: Tensor, estimate: Tensor) -> list[float]:
    """dB of each target: (targets, channels, samples) twice."""
    samples = truth.shape[-1]
    return framewise_sdr(truth, estimate, samples, samples)[:, 0].tolist()


def bound(stems: Tensor, n_fft: int = 4096) -> list[float]:
    """SDR of the true magnitudes with the mixture's phase."""
    pair = STFT(n_fft=n_fft, hop=n_fft // 4)
    mixture = pair.analyse(stems.sum(0))
    spectra = wiener(pair.analyse(stems).abs()[None], mixture[None], iterations=0)
    return sdr(stems, pair.synthesise(spectra, stems.shape[-1])[0])


def excerpts(root: Path, seconds: float) -> Iterator[Excerpt]:
    """Every excerpt of every song, half a length apart, in which all stems sound."""
    frames = round(seconds * RATE)
    for song in sorted({path.parent for path in root.rglob("vocals.*")}):
        files = [next(song.glob(f"{stem}.*")) for stem in STEMS]
        stems = torch.stack([read(file)[0] for file in files])
        for start in range(0, stems.shape[-1] - frames + 1, frames // 2):
            part = stems[..., start : start + frames].clone()
            if part.square().mean((1, 2)).sqrt().min() > QUIET:
                yield Excerpt(song.name, start, part)


def learn(excerpt: Excerpt, name: str, loss: str, overrides: list[str], steps: int) -> list[float]:
    """SDR of each target (dB) after training the project's own Separator on the excerpt alone."""
    schedule = ["scheduler=cosine", "scheduler.interval=step", f"scheduler.scheduler.T_max={steps}"]
    config = plain(compose([f"model={name}", f"loss={loss}", *schedule, *overrides]))
    torch.manual_seed(config["seed"])
    parts = {
        key: build.instantiate(config[key], where=key)
        for key in ("model", "loss", "optimizer", "scheduler", "inference")
    }
    shared = {key: config[key] for key in ("sources", "targets", "sample_rate")}
    separator = Separator(**parts, **shared)
    mixture = excerpt.stems.sum(0)
    if hasattr(separator.model, "prepare"):
        separator.model.prepare([(mixture, excerpt.stems)])
    context = separator.model.context
    stems = torch.nn.functional.pad(excerpt.stems, (context, context))[None]
    count = len(STEMS)
    batch = Batch(
        stems, torch.ones(1, count, dtype=torch.bool), torch.zeros(1), torch.zeros(1, count), {}
    )
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_steps=steps,
        gradient_clip_val=5.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(separator, DataLoader([batch] * steps, batch_size=None, collate_fn=lambda one: one))
    whole = parts["inference"]._replace(segment=None)
    estimate = separate(separator.model, mixture, sample_rate=RATE, inference=whole)
    truth = torch.einsum("ts,scn->tcn", separator.members, excerpt.stems)
    return sdr(truth, estimate)


def easiest(root: Path, seconds: float = 6.0) -> Excerpt:
    """The excerpt whose worst stem true magnitudes with the mixture's phase tell apart best."""
    return max(excerpts(root, seconds), key=lambda one: min(bound(one.stems)))


def row(name: str, scores: list[float]) -> None:
    cells = [f"{score:.1f}" for score in scores]
    print(f"| {name} | {' | '.join(cells)} | {sum(scores) / len(scores):.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("songs", type=Path)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(arguments.threads)
    excerpt = easiest(arguments.songs, arguments.seconds)
    print(f"{excerpt.song} from {excerpt.start / RATE:.0f} s\n")
    print(f"| | {' | '.join(STEMS)} | mean |")
    print("|---" * (len(STEMS) + 2) + "|")
    mixture = excerpt.stems.sum(0)
    row("mixture", sdr(excerpt.stems, mixture.expand_as(excerpt.stems)))
    for n_fft in (1024, 2048, 4096):
        row(f"true magnitudes, mixture's phase, n_fft {n_fft}", bound(excerpt.stems, n_fft))
    oracle = IRM(alpha=1.0)(mixture[None], excerpt.stems[None]).waveforms[0]
    row("ideal ratio mask", sdr(excerpt.stems, oracle))
    for words in arguments.models:
        name, *more = re.split(r",(?![^\[]*\])", words)  # commas of a list split nothing
        loss = (more or ["spectra_mse"])[0]
        began = time.process_time()
        scores = learn(excerpt, name, loss, more[1:], arguments.steps)
        spent = time.process_time() - began
        label = ", ".join([name, loss, *more[1:]])
        row(f"{label}, {arguments.steps} steps, {spent:.0f} CPU s", scores)


if __name__ == "__main__":
    main()
