"""Songs in, one long table of scores out; every system goes through the same code."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from sepexp.errors import UserError
from sepexp.inference import Inference, separate
from sepexp.metric.by_name import LEAK, chosen, leaks, track_scores
from sepexp.run import write_text
from sepexp.separation import Separation

System = Callable[[Tensor, Tensor], Separation]
COLUMNS = ("run", "system", "track", "source", "metric", "frame", "value")
BACKENDS = {
    "museval": "sepexp.metric.museval_backend",
    "sepexp": "sepexp.metric.bsseval",
}


class Row(NamedTuple):
    """One score. frame is None for a number about the whole track."""

    run: str
    system: str
    track: str
    source: str
    metric: str
    frame: int | None
    value: float


class Song(NamedTuple):
    """A song to score on.

    Shape:
        mixture (channels, samples), truth (targets, channels, samples); names of the targets that
        the song has, in the truth's order, and their positions among all targets.
    """

    name: str
    mixture: Tensor
    truth: Tensor
    targets: list[str]
    kept: list[int]


def backend(name: str, device: str | None = None) -> Callable[..., Any]:
    """The BSSEval v4 implementation by its name; only our own can use a device.

    Raises:
        UserError: No such backend.
    """
    if name not in BACKENDS:
        raise UserError(f"metric.backend={name}: expected one of {', '.join(BACKENDS)}")
    import importlib

    found = importlib.import_module(BACKENDS[name]).bss_eval
    return partial(found, device=device) if device and name == "sepexp" else found


def model_system(model: Any, sample_rate: int, inference: Inference) -> System:
    """A model as a system: it hears the mixture and leaves the truth alone."""

    def system(mixture: Tensor, truth: Tensor) -> Separation:
        return Separation(
            torch.stack(
                [
                    separate(model, song, sample_rate=sample_rate, inference=inference)
                    for song in mixture
                ]
            )
        )

    return system


def evaluate(
    songs: Iterable[Song],
    systems: Mapping[str, System],
    *,
    run: str,
    sample_rate: int,
    metric: Mapping[str, Any],
    hear: Callable[[Song, str, Tensor], None] | None = None,
    keep: Callable[[Song, str, Any], None] | None = None,
    progress: Callable[[str], None] | None = None,
) -> tuple[list[Row], float]:
    """Score every system on every song.

    Args:
        songs: One after the other; each is in memory only while it is scored.
        systems: By name; "model" is the one whose time is measured.
        run: The run's id, for the table.
        sample_rate: Hz.
        metric: `backend`, `window` and `hop` (seconds), `device` for BSSEval's heavy steps where
            the backend can use one, and under `scores` the names of whole-track
            scores beside BSSEval and uSDR, see `metric.by_name`; "leak" is the leak matrix.
        hear: Called with each song, system and estimate (targets, channels, samples).
        keep: Called with each song, system and its framewise scores, each (targets, frames).
        progress: Called with a line to show.

    Returns:
        The rows, and the seconds that "model" computed for a second of music.
    """
    bss_eval = backend(metric["backend"], metric.get("device"))
    window, hop = metric["window"] * sample_rate, metric["hop"] * sample_rate
    wanted = ["uSDR", *metric.get("scores", ())]
    leak = LEAK in chosen(wanted)
    more = track_scores(wanted, sample_rate, metric["window"], metric["hop"])
    rows: list[Row] = []
    spent = heard = 0.0
    for song in songs:
        for name, system in systems.items():
            began = time.perf_counter()
            estimate = _ask(system, song)
            seconds = time.perf_counter() - began
            if name == "model":
                spent += seconds
                heard += song.mixture.shape[-1] / sample_rate
            if hear is not None:
                hear(song, name, estimate)
            scores = bss_eval(_museval_order(song.truth), _museval_order(estimate), window, hop)
            if keep is not None:
                keep(song, name, scores)
            rows += _rows(run, name, song, scores)
            numbers = {n: f(song.truth, estimate, song.mixture) for n, f in more.items()}
            numbers |= leaks(song.truth, estimate, song.targets) if leak else {}
            rows += _whole_rows(run, name, song, numbers)
            if progress is not None:
                scored = time.perf_counter() - began - seconds
                progress(
                    f"{song.name} · {name}: {seconds:.1f} s to separate, {scored:.1f} s to score"
                )
        del song  # before the next one is read: a song with its stems is half a gigabyte
    return rows, spent / heard if heard else math.nan


@torch.no_grad()
def _ask(system: System, song: Song) -> Tensor:
    """A system's estimates of the targets that the song has: (targets, channels, samples)."""
    estimate = system(song.mixture[None], song.truth[None]).waveforms[0]
    return estimate if len(estimate) == len(song.truth) else estimate[song.kept]


def _museval_order(stems: Tensor) -> np.ndarray:
    """(targets, channels, samples) -> (targets, samples, channels), as BSSEval's tools take it."""
    return stems.transpose(-1, -2).cpu().numpy()


def _rows(run: str, system: str, song: Song, scores: Any) -> list[Row]:
    rows = []
    for metric in ("SDR", "ISR", "SIR", "SAR"):
        table = getattr(scores, metric.lower())
        for target, values in zip(song.targets, table, strict=True):
            rows += [
                Row(run, system, song.name, target, metric, frame, float(value))
                for frame, value in enumerate(values)
            ]
    return rows


def _whole_rows(run: str, system: str, song: Song, numbers: Mapping[str, Tensor]) -> list[Row]:
    return [
        Row(run, system, song.name, target, score, None, float(value))
        for score, values in numbers.items()
        for target, value in zip(song.targets, values, strict=True)
    ]


def write_scores(path: Path, rows: Sequence[Row]) -> None:
    """The long table as CSV; NaN as nan, an empty frame for a number about a whole track."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        frame = "" if row.frame is None else row.frame
        writer.writerow([*row[:5], frame, f"{row.value:.6g}"])
    write_text(path, text.getvalue())


def macs_a_second(model: Any) -> float:
    """Multiply-accumulates for one second of music (convolutions, products and recurrences)."""
    from torch.utils.flop_counter import FlopCounterMode

    recurrent = 0.0

    def count(module: Any, inputs: tuple, output: Any) -> None:
        nonlocal recurrent
        steps = output[0].numel() / (module.hidden_size * (1 + module.bidirectional))
        weights = sum(p.numel() for n, p in module.named_parameters() if n.startswith("weight"))
        recurrent += steps * weights

    # the counter sees torch's fused recurrences as nothing, or as their products: count them here
    kinds = (nn.LSTM, nn.GRU, nn.RNN)
    hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, kinds)]
    length = model.sample_rate
    parameter = next(iter([*model.parameters(), *model.buffers()]), torch.zeros(()))
    second = torch.zeros(1, model.channels, length + 2 * model.context, device=parameter.device)
    training, trained = model.training, [p for p in model.parameters() if p.requires_grad]
    model.eval()
    for weights in trained:  # the counter asks for the gradient of what a module gives back,
        weights.requires_grad_(False)  # and fails where that is a parameter: a codebook
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(second)
    finally:
        model.train(training)
        for weights in trained:
            weights.requires_grad_(True)
        for hook in hooks:
            hook.remove()
    flops = counter.get_flop_counts().get("Global", {})
    counted = sum(v for op, v in flops.items() if "rnn" not in str(op) and "lstm" not in str(op))
    return counted / 2 + recurrent
